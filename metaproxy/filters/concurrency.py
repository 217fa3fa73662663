"""An absolute limit: how many requests of one consumer may run at the same time."""

from collections.abc import Callable
from functools import partial
from typing import Literal

from starlette.types import ASGIApp, Receive, Scope, Send

from metaproxy.exchange import Exchange, Identity
from metaproxy.filters.refusals import refusals
from metaproxy.filters.stage import GOES_ON, Decided, DecidingStage, Prepared
from metaproxy.protocol.addresses import IPV6_PREFIX
from metaproxy.protocol.faults import Fault
from metaproxy.protocol.limits.consumers import consumer_of
from metaproxy.telemetry.metrics import Metrics

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


class ConcurrencyLimit(DecidingStage):
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
        app: ASGIApp,
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
        self._status = 503 if per == "global" else over_limit_status
        self._running = running if running is not None else Running()
        metrics = metrics or Metrics()
        self._refusals = refusals(metrics)
        metrics.gauge("metaproxy_limit_running", "Requests that run now.", (), lambda: [((), len(self))])

    def __len__(self) -> int:
        """The number of requests that run."""
        return len(self._running)

    def decide(self, exchange: Exchange, scope: Scope) -> bool:
        """Refuse a request whose consumer has enough running. One that ends at once need not be counted."""
        self.check(self._consumer(exchange))
        return True

    def check(self, consumer: str) -> None:
        """Raise Fault where ``consumer`` has enough running."""
        if self._running.of(consumer) >= self._maximum:
            self._refusals.add(("concurrent",))
            raise Fault(
                self._status,
                f"More than {self._maximum} requests at the same time are not allowed.",
                reason="concurrency_exceeded",
                retry_after=RETRY_AFTER_SECONDS,
            )

    def prepared(self, exchange: Exchange, scope: Scope) -> Prepared:
        """Return the decision on requests like this one: whose they are is known."""
        return _PreparedConcurrency(self, self._consumer(exchange))

    async def handle(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        """Count the request for as long as it runs."""
        self.decide(exchange, scope)
        leave = self.enter(exchange)
        try:
            await self.app(scope, receive, send)
        finally:
            leave()

    def enter(self, exchange: Exchange) -> Callable[[], None]:
        """Count a request that begins to run; return what is to be called when it has ended."""
        return self.count(self._consumer(exchange))

    def count(self, consumer: str) -> Callable[[], None]:
        """Count a request of ``consumer``; return what is to be called when it has ended."""
        return self._running.enter(consumer)

    def _consumer(self, exchange: Exchange) -> str:
        who = exchange.identity or NOBODY
        return self._consumer_of(who.project_id, who.user_id, exchange.client_address)


class _PreparedConcurrency(Prepared):
    """Looks at what runs of one consumer."""

    __slots__ = ("_consumer", "_limit")

    def __init__(self, limit: ConcurrencyLimit, consumer: str) -> None:
        self._limit = limit
        self._consumer = consumer

    def decide(self, exchange: Exchange) -> bool:
        self._limit.check(self._consumer)
        return True

    def enter(self, exchange: Exchange) -> Callable[[], None]:
        return self._limit.count(self._consumer)

    def admit(self, now: float) -> Decided:
        self._limit.check(self._consumer)
        return GOES_ON
