"""An absolute limit: how many requests of one consumer may run at the same time."""

from collections.abc import Callable
from functools import partial

from starlette.types import ASGIApp, Scope

from metaproxy import clock
from metaproxy.check import GOES_ON, Check, Decided, Prepared, no_application
from metaproxy.clock import Clock
from metaproxy.exchange import Exchange
from metaproxy.filters.rates import STORE_UNAVAILABLE
from metaproxy.filters.refusals import refusals
from metaproxy.protocol.addresses import IPV6_PREFIX
from metaproxy.protocol.faults import Fault
from metaproxy.protocol.limits.consumers import GLOBAL, consumer_of
from metaproxy.protocol.limits.settings import Concurrency, Limits
from metaproxy.settings.section import chosen
from metaproxy.store.running import SharedRunning
from metaproxy.store.unavailable import StoreUnavailable
from metaproxy.telemetry.metrics import Metrics
from metaproxy.verdicts import PASS, Verdict, Wait

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
    """Lets a request through while fewer than ``max`` of its consumer run; answers 413 otherwise.

    Counts in this process, so that with n processes a consumer may have n times as many; with ``shared`` over
    all of them, for which each request asks the store. A request counts until its answer is complete or its
    client has gone. Only consumers with a running request are remembered.

    Args:
        settings: how many may run at once of which consumer; or else its options by name: ``max`` and
            ``per``. A global limit answers 503.
        limits: the limits among which this one is: the status of a refusal, and what holds while ``shared``
            is away.
        running: the numbers of running requests, if another stage had them before.
        shared: the running requests of all processes; None counts those of this one.
        ipv6_prefix: IPv6 addresses that have so many bits in common are one consumer.
        metrics: counts refusals, and tells how many requests run.
    """

    passes_any_target = True

    def __init__(
        self,
        app: ASGIApp = no_application,
        /,
        settings: Concurrency | None = None,
        *,
        limits: Limits | None = None,
        running: Running | None = None,
        shared: SharedRunning | None = None,
        ipv6_prefix: int = IPV6_PREFIX,
        monotonic: Clock = clock.monotonic,
        metrics: Metrics | None = None,
        **options: object,
    ) -> None:
        settings = chosen(Concurrency, settings, options)
        limits = limits or Limits()
        self.app = app
        self._maximum = settings.max
        self._consumer_of = consumer_of((settings.per,), ipv6_prefix)
        self._running = running if running is not None else Running()
        self._shared = shared
        self._on_store_failure = limits.on_store_failure
        self._monotonic = monotonic
        metrics = metrics or Metrics()
        self._refused = refusals(metrics).cell(("concurrent",))
        self._fault = Fault(
            503 if settings.per == GLOBAL.name else limits.over_limit_status,
            f"More than {settings.max} requests at the same time are not allowed.",
            reason="concurrency_exceeded",
            retry_after=RETRY_AFTER_SECONDS,
        )
        metrics.gauge("metaproxy_limit_running", "Requests that run now.", (), lambda: [((), len(self))])
        self._without_store = metrics.counter(
            "metaproxy_limit_running_without_store",
            "Requests for which no slot in the shared store could be asked for.",
        ).cell()
        metrics.gauge(
            "metaproxy_limit_slots",
            "Slots that requests of this process have in the shared store.",
            (),
            lambda: [((), len(shared) if shared is not None else 0)],
        )

    def __len__(self) -> int:
        """The number of requests that run."""
        return len(self._running)

    @property
    def is_asking(self) -> bool:
        """True if the store is asked about each request."""
        return self._shared is not None and self._shared.available

    def decide(self, exchange: Exchange, scope: Scope) -> Verdict:
        """Refuse a request whose consumer has enough running; count any other for as long as it runs."""
        return self.begin(exchange, self._consumer_of(exchange))

    def prepared(self, exchange: Exchange, scope: Scope) -> Prepared:
        """Return the decision about requests of the same consumer."""
        return _PreparedConcurrency(self, self._consumer_of(exchange))

    def begin(self, exchange: Exchange, consumer: str) -> Verdict:
        """Count a request of ``consumer`` until it ends; return the refusal if enough are running.

        A request that asks for a slot counts in this process already. So a consumer never asks for more at
        once than it may have, and the count is right if the store fails.
        """
        shared = self._shared
        fault = self.refusal(consumer)
        if fault is not None:
            return fault
        exchange.at_end(self._running.enter(consumer))
        if shared is None:
            return PASS
        if shared.available:
            return Wait(partial(self._enter, exchange, consumer, shared))
        return self._enter_later(exchange, consumer, shared)

    def refusal(self, consumer: str) -> Fault | None:
        """Return the refusal of a request whose ``consumer`` has enough running here; None for any other."""
        if self._shared is not None and not self._shared.available and self._on_store_failure != "local":
            return None if self._on_store_failure == "allow" else self._unavailable()
        if self._running.of(consumer) < self._maximum:
            return None
        self._refused.value += 1
        return self._fault

    async def _enter(self, exchange: Exchange, consumer: str, shared: SharedRunning) -> Verdict:
        begun = self._monotonic()
        try:
            slot = await shared.enter(consumer, self._maximum)
        except StoreUnavailable:
            if self._on_store_failure == "deny":
                return self._unavailable()
            return self._enter_later(exchange, consumer, shared)
        finally:
            exchange.waited("store", self._monotonic() - begun, begun)
        if slot is None:
            self._refused.value += 1
            return self._fault
        exchange.at_end(partial(shared.leave, consumer, slot))
        return PASS

    def _enter_later(self, exchange: Exchange, consumer: str, shared: SharedRunning) -> Verdict:
        self._without_store.value += 1
        exchange.at_end(partial(shared.leave, consumer, shared.hold(consumer)))
        return PASS

    def _unavailable(self) -> Fault:
        self._without_store.value += 1
        return STORE_UNAVAILABLE


class _PreparedConcurrency(Prepared):
    """Looks at what runs of one consumer."""

    __slots__ = ("_consumer", "_limit")

    def __init__(self, limit: ConcurrencyLimit, consumer: str) -> None:
        self._limit = limit
        self._consumer = consumer

    def decide(self, exchange: Exchange) -> Verdict:
        return self._limit.begin(exchange, self._consumer)

    def can_decide(self, now: float) -> bool:
        return not self._limit.is_asking

    def admit(self, now: float) -> Decided | None:
        if self._limit.is_asking:
            return None
        fault = self._limit.refusal(self._consumer)
        return GOES_ON if fault is None else (fault, b"")

    refuse = admit
