"""The record of every request that has ended: a few numbers and one line of the access log."""

import random
from collections.abc import Callable, Mapping

import msgspec

from metaproxy.clock import Clock, wall
from metaproxy.exchange import NO_WAITS, Exchange
from metaproxy.telemetry.access_log import AccessLog
from metaproxy.telemetry.metrics import Cell, Metrics, Row

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


Kind = tuple[str, str, int, str, str]
"""Route, method, status, outcome and reason."""


class AccessLine(msgspec.Struct, frozen=True, gc=False):
    """One line of the access log; the fields stand in this order."""

    time: float
    event: str
    request_id: str
    global_request_id: str
    client: str
    method: str
    path: str
    route: str
    status: int
    outcome: str
    reason: str
    cache: str
    project: str
    user: str
    bytes: int
    seconds: float
    waits: Mapping[str, float]
    upstream: str
    upstream_request_id: str


class RequestRecord:
    """Counts requests by route, method, status, outcome and reason, times them, and logs them.

    Args:
        access_log: where the lines go; None writes none.
        sample: the share of requests answered below 400 that get a line, 0 to 1.
        chance: returns numbers from 0 to 1.
    """

    def __init__(
        self,
        metrics: Metrics,
        access_log: AccessLog | None = None,
        *,
        sample: float = 1.0,
        time: Clock = wall,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._access_log = access_log
        self._sample = sample
        self.time = time
        self._chance = chance
        self._requests = metrics.counter(
            "metaproxy_requests",
            "Requests that have ended, by how and why.",
            ("route", "method", "status", "outcome", "reason"),
        )
        self.seconds = metrics.histogram(
            "metaproxy_request_duration_seconds",
            "Time from the request's head to the end of the answer, by outcome.",
            ("outcome",),
        )
        self._waits = metrics.histogram(
            "metaproxy_wait_duration_seconds",
            "Time that requests waited for something outside the process, by what.",
            ("stage",),
        )
        self.bytes = metrics.counter("metaproxy_response_body_bytes", "Bytes of answers' bodies sent.").cell()
        self._bound: dict[Kind, tuple[Cell, Row]] = {}
        self._wait_rows: dict[str, Row] = {}

    def ended(
        self, exchange: Exchange, method: str, path: str, status: int, body_bytes: int, seconds: float
    ) -> None:
        """Record one request. ``status`` is 0 where no answer was started."""
        key = (exchange.route, method, status, exchange.outcome, exchange.reason)
        cell, row = self._bound.get(key) or self._bind(key)
        cell.value += 1
        row.observe(seconds)
        self.bytes.value += body_bytes
        for stage, waited in exchange.waits.items():
            wait = self._wait_rows.get(stage)
            if wait is None:
                wait = self._wait_rows[stage] = self._waits.row((stage,))
            wait.observe(waited)
        access_log = self.logs(status)
        if access_log is not None:
            access_log.write(self._line(exchange, method, path, status, body_bytes, seconds))

    def prepared(self, exchange: Exchange, method: str, path: str) -> "PreparedRecord":
        """Return the record of requests with the head of this one, all of which memory answers."""
        return PreparedRecord(self, exchange, method, path)

    def logs(self, status: int) -> AccessLog | None:
        """Return where the line goes of a request that ended with ``status``; None for no line."""
        if self._sample == 1.0 or not 0 < status < 400 or self._chance() < self._sample:
            return self._access_log
        return None

    def by_outcome(self) -> dict[str, int]:
        """Return how many requests have ended, by outcome."""
        return self._counted_by(3)

    def by_reason(self) -> dict[str, int]:
        """Return how many requests have ended early, by the word that says why."""
        counted = self._counted_by(4)
        counted.pop("", None)
        return counted

    def _counted_by(self, label: int) -> dict[str, int]:
        counted: dict[str, int] = {}
        for labels, number in self._requests.values.items():
            counted[labels[label]] = counted.get(labels[label], 0) + int(number)
        return counted

    def bound(self, key: Kind) -> tuple[Cell, Row]:
        """Return the numbers that a request of this kind is counted in."""
        return self._bound.get(key) or self._bind(key)

    def _bind(self, key: Kind) -> tuple[Cell, Row]:
        route, method, status, outcome, reason = key
        known = method if method in METHODS else "other"
        bound = (
            self._requests.cell((route or "other", known, str(status), outcome, reason)),
            self.seconds.row((outcome,)),
        )
        if known == method:  # what a client made up is not remembered
            self._bound[key] = bound
        return bound

    def _line(
        self, exchange: Exchange, method: str, path: str, status: int, body_bytes: int, seconds: float
    ) -> AccessLine:
        identity = exchange.identity
        # Rounded by hand: round() takes three times as long.
        return AccessLine(
            int(self.time() * 1e3 + 0.5) / 1e3,
            "request",
            exchange.request_id,
            exchange.global_request_id,
            exchange.client_address,
            method,
            path,
            exchange.route,
            status,
            exchange.outcome,
            exchange.reason,
            exchange.cache_status,
            identity.project_id if identity is not None else "",
            identity.user_id if identity is not None else "",
            body_bytes,
            int(seconds * 1e6 + 0.5) / 1e6,
            {stage: int(waited * 1e6 + 0.5) / 1e6 for stage, waited in exchange.waits.items()},
            exchange.upstream,
            exchange.upstream_request_id,
        )


class PreparedRecord:
    """Records requests that differ in nothing but when they come and what memory answers."""

    __slots__ = ("_bound", "_client", "_kind", "_method", "_path", "_project", "_record", "_route", "_user")

    def __init__(self, record: RequestRecord, exchange: Exchange, method: str, path: str) -> None:
        identity = exchange.identity
        self._record = record
        self._client = exchange.client_address
        self._method = method
        self._path = path
        self._route = exchange.route
        self._project = identity.project_id if identity is not None else ""
        self._user = identity.user_id if identity is not None else ""
        self._kind: tuple[int, str, str] | None = None
        self._bound: tuple[Cell, Row]

    def ended(
        self,
        request_id: str,
        status: int,
        outcome: str,
        reason: str,
        cache_status: str,
        body_bytes: int,
        seconds: float,
    ) -> None:
        """Record one of them."""
        record = self._record
        kind = status, outcome, reason
        if kind != self._kind:
            self._kind = kind
            self._bound = record.bound((self._route, self._method, *kind))
        cell, row = self._bound
        cell.value += 1
        row.observe(seconds)
        record.bytes.value += body_bytes
        access_log = record.logs(status)
        if access_log is None:
            return
        # Rounded as in ``RequestRecord``.
        line = AccessLine(
            int(record.time() * 1e3 + 0.5) / 1e3,
            "request",
            request_id,
            "",
            self._client,
            self._method,
            self._path,
            self._route,
            status,
            outcome,
            reason,
            cache_status,
            self._project,
            self._user,
            body_bytes,
            int(seconds * 1e6 + 0.5) / 1e6,
            NO_WAITS,
            "",
            "",
        )
        access_log.write(line)
