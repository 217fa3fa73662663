"""What is told of every request when it has ended: two metrics and one line of the access log."""

from metaproxy.clock import Clock, wall
from metaproxy.exchange import Exchange
from metaproxy.telemetry.access_log import AccessLog
from metaproxy.telemetry.metrics import Metrics

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class RequestRecord:
    """Counts requests by route, method, status, outcome and reason, times them, and logs them.

    Args:
        metrics: where the counts go.
        access_log: where the lines go; None writes none.
        time: the wall clock of the log.
    """

    def __init__(self, metrics: Metrics, access_log: AccessLog | None = None, time: Clock = wall) -> None:
        self._access_log = access_log
        self._time = time
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
        self._bytes = metrics.counter("metaproxy_response_body_bytes", "Bytes of answers' bodies sent.")

    def ended(
        self, exchange: Exchange, method: str, path: str, status: int, body_bytes: int, seconds: float
    ) -> None:
        """Record one request. ``status`` is 0 where no answer was started."""
        label = method if method in METHODS else "other"
        self._requests.add((exchange.route or "other", label, str(status), exchange.outcome, exchange.reason))
        self.seconds.observe((exchange.outcome,), seconds)
        for stage, waited in exchange.waits.items():
            self._waits.observe((stage,), waited)
        self._bytes.add((), body_bytes)
        if self._access_log is not None:
            self._access_log.write(self._line(exchange, method, path, status, body_bytes, seconds))

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

    def _line(
        self, exchange: Exchange, method: str, path: str, status: int, body_bytes: int, seconds: float
    ) -> dict[str, object]:
        identity = exchange.identity
        return {
            "time": round(self._time(), 3),
            "event": "request",
            "request_id": exchange.request_id,
            "global_request_id": exchange.global_request_id,
            "client": exchange.client_address,
            "method": method,
            "path": path,
            "route": exchange.route,
            "status": status,
            "outcome": exchange.outcome,
            "reason": exchange.reason,
            "cache": exchange.cache_status,
            "project": identity.project_id if identity else "",
            "user": identity.user_id if identity else "",
            "bytes": body_bytes,
            "seconds": round(seconds, 6),
            "waits": exchange.waits,
            "upstream": exchange.upstream,
            "upstream_request_id": exchange.upstream_request_id,
        }
