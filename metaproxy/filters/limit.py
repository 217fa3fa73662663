"""Stage 5: every consumer is held to its rates."""

from collections.abc import Sequence
from typing import Literal

from starlette.types import ASGIApp, Receive, Scope, Send

from metaproxy import clock
from metaproxy.clock import Clock
from metaproxy.exchange import Exchange
from metaproxy.filters.rates import Rates
from metaproxy.filters.refusals import refusals
from metaproxy.filters.stage import Stage
from metaproxy.protocol.faults import Fault
from metaproxy.protocol.limits import fields
from metaproxy.protocol.limits.policy import Standing, standing
from metaproxy.store.counters import Charge, Taken
from metaproxy.telemetry.metrics import Metrics


class RateLimit(Stage):
    """Lets a request through if every rate that it meets has room, and charges all of them; else none.

    Over a consumer's own rate it answers 413 (or 429, RFC 6585 §4), over a global one 503, both with
    Retry-After in whole seconds, after which the request fits unless others were faster. Reads
    ``identity`` and ``client_address``; adds RateLimit and RateLimit-Policy to ``response_headers``.

    Args:
        app: the next stage.
        rates: the rules and their counters.
        over_limit_status: 413 as the compute API has it, or 429.
        headers: whether answers tell the consumer where it stands.
        metrics: counts refusals by rule.
        monotonic: measures how long the store kept a request waiting.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        rates: Rates,
        over_limit_status: Literal[413, 429] = 413,
        headers: bool = True,
        metrics: Metrics | None = None,
        monotonic: Clock = clock.monotonic,
    ) -> None:
        self.app = app
        self._monotonic = monotonic
        self.rates = rates
        self._over_limit_status = over_limit_status
        self._headers = headers
        metrics = metrics or Metrics()
        self._refusals = refusals(metrics)
        metrics.gauge(
            "metaproxy_limit_counters", "Rate counters in this process.", (), lambda: [((), len(rates))]
        )
        metrics.gauge(
            "metaproxy_limit_without_store",
            "Requests decided while the shared counters were away.",
            (),
            lambda: [((), rates.without_store)],
        )

    def decide(self, exchange: Exchange, scope: Scope) -> bool:
        """Hold the request to its rates from memory; False where the shared store must be asked."""
        charges = self.rates.charges(exchange, scope)
        if not charges:
            return True
        taken = self.rates.take(charges)
        if taken is None:
            return False
        self._conclude(exchange, charges, taken)
        return True

    async def handle(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what is within its rates."""
        if not self.decide(exchange, scope):
            await self._ask_store(exchange, scope)
        await self.app(scope, receive, send)

    async def close(self) -> None:
        """Leave what is being asked of the store."""
        await self.rates.close()

    async def _ask_store(self, exchange: Exchange, scope: Scope) -> None:
        charges = self.rates.charges(exchange, scope)
        begun = self._monotonic()
        try:
            taken = await self.rates.take_shared(charges)
        finally:
            exchange.waited("store", self._monotonic() - begun)
        self._conclude(exchange, charges, taken)

    def _conclude(self, exchange: Exchange, charges: Sequence[Charge], taken: Taken) -> None:
        if not taken.states:
            return
        told = [
            (charge, standing(charge.rule.policy, state, taken.now))
            for charge, state in zip(charges, taken.states, strict=True)
        ]
        if self._headers:
            limit = b", ".join(fields.limit_item(charge.rule.quoted_name, where) for charge, where in told)
            policy = b", ".join(charge.rule.policy_item for charge, _ in told)
            exchange.response_headers += ((fields.LIMIT, limit), (fields.POLICY, policy))
        if not taken.admitted:
            raise self._refusal(told)

    def _refusal(self, told: Sequence[tuple[Charge, Standing]]) -> Fault:
        """The fault for a request to which at least one of the rates said no."""
        full = [(charge.rule, where) for charge, where in told if where.wait_seconds]
        for rule, _ in full:
            self._refusals.add((rule.rule.name,))
        seconds = max(where.wait_seconds for _, where in full)
        if any(rule.rule.is_global for rule, _ in full):
            return Fault(
                503,
                f"The service is at its limit. Retry after {seconds} seconds.",
                reason="global_rate_exceeded",
                retry_after=seconds,
            )
        return Fault(
            self._over_limit_status,
            f"This request was rate-limited. Retry after {seconds} seconds.",
            reason="rate_exceeded",
            retry_after=seconds,
        )
