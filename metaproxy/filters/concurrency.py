"""An absolute limit: how many requests of one consumer may run at the same time."""

from collections.abc import Callable
from functools import partial
from typing import Literal

from starlette.types import ASGIApp, Scope

from metaproxy.check import GOES_ON, Check, Decided, Prepared, TargetCheck, always, no_application
from metaproxy.exchange import Exchange, Identity
from metaproxy.filters.refusals import refusals
from metaproxy.protocol.addresses import IPV6_PREFIX
from metaproxy.protocol.faults import Fault
from metaproxy.protocol.limits.consumers import consumer_of
from metaproxy.telemetry.metrics import Metrics
from metaproxy.verdicts import PASS, Verdict

NOBODY = Identity()

RETRY_AFTER_SECONDS = 1
"""When a running request will end cannot be known."""


class Running:
    """The numbers of requests that run now, by consumer. It outlives the stage that a reload replaces."""

    def __init__(self) -> None:
        self._running: dict[str, int] = {}

    def __len__(self) -> int:
        """The number of requests that run."""
        return sum(self._running.values())

    async def start(self) -> None:
        """Nothing begins: a number is made by the first request."""

    async def close(self) -> None:
        """Nothing ends: each request that runs takes itself off."""

    def of(self, consumer: str) -> int:
        """Return how many requests of ``consumer`` run."""
        return self._running.get(consumer, 0)

    def enter(self, consumer: str) -> Callable[[], None]:
        """Count a request of ``consumer``; return what is to be called when it has ended."""
        self._running[consumer] = self._running.get(consumer, 0) + 1
        return partial(self._leave, consumer)

    def _leave(self, consumer: str) -> None:
        self._running[consumer] -= 1
        if not self._running[consumer]:
            del self._running[consumer]


class ConcurrencyLimit(Check):
    """Lets a request through while fewer than ``maximum`` of its consumer run; answers 413 otherwise.

    Counts in this process: with n workers a consumer may have n times as many. A request counts until
    its answer is complete or its client has gone. Only consumers with a running request are remembered.

    Args:
        app: the next stage.
        maximum: how many may run at once.
        per: ``project``, ``user``, ``address`` or ``global``; a global limit answers 503.
        over_limit_status: 413 as the compute API has it, or 429.
        running: the numbers of running requests, if another stage had them before.
        ipv6_prefix: IPv6 addresses that have so many bits in common are one consumer.
        metrics: counts refusals, and tells how many requests run.
    """

    def __init__(
        self,
        app: ASGIApp = no_application,
        *,
        maximum: int,
        per: Literal["project", "user", "address", "global"] = "project",
        over_limit_status: Literal[413, 429] = 413,
        running: Running | None = None,
        ipv6_prefix: int = IPV6_PREFIX,
        metrics: Metrics | None = None,
    ) -> None:
        self.app = app
        self._maximum = maximum
        self._consumer_of = consumer_of((per,), ipv6_prefix)
        self._running = running if running is not None else Running()
        metrics = metrics or Metrics()
        self._refused = refusals(metrics).cell(("concurrent",))
        self._fault = Fault(
            503 if per == "global" else over_limit_status,
            f"More than {maximum} requests at the same time are not allowed.",
            reason="concurrency_exceeded",
            retry_after=RETRY_AFTER_SECONDS,
        )
        metrics.gauge("metaproxy_limit_running", "Requests that run now.", (), lambda: [((), len(self))])

    def __len__(self) -> int:
        """The number of requests that run."""
        return len(self._running)

    def decide(self, exchange: Exchange, scope: Scope) -> Verdict:
        """Refuse a request whose consumer has enough running; count any other for as long as it runs."""
        return self.begin(exchange, self._consumer(exchange))

    def target_check(self, exchange: Exchange, scope: Scope) -> TargetCheck:
        """Let any target pass: each is held by what is ``prepared``."""
        return always

    def prepared(self, exchange: Exchange, scope: Scope) -> Prepared:
        """Return the decision about requests of the same consumer."""
        return _PreparedConcurrency(self, self._consumer(exchange))

    def begin(self, exchange: Exchange, consumer: str) -> Verdict:
        """Count a request of ``consumer`` until it ends; return the refusal if enough are running."""
        fault = self.refusal(consumer)
        if fault is not None:
            return fault
        exchange.at_end(self._running.enter(consumer))
        return PASS

    def refusal(self, consumer: str) -> Fault | None:
        """Return the refusal of a request whose ``consumer`` has enough running; None for any other."""
        if self._running.of(consumer) < self._maximum:
            return None
        self._refused.value += 1
        return self._fault

    def _consumer(self, exchange: Exchange) -> str:
        who = exchange.identity or NOBODY
        return self._consumer_of(who.project_id, who.user_id, exchange.client_address)


class _PreparedConcurrency(Prepared):
    """Looks at what runs of one consumer."""

    __slots__ = ("_consumer", "_limit")

    def __init__(self, limit: ConcurrencyLimit, consumer: str) -> None:
        self._limit = limit
        self._consumer = consumer

    def decide(self, exchange: Exchange) -> Verdict:
        return self._limit.begin(exchange, self._consumer)

    def admit(self, now: float) -> Decided:
        fault = self._limit.refusal(self._consumer)
        return GOES_ON if fault is None else (fault, b"")

    refuse = admit
