"""Stage 5: every consumer is held to its rates."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

from starlette.types import ASGIApp, Receive, Scope, Send

from metaproxy import clock
from metaproxy.clock import Clock
from metaproxy.exchange import Exchange
from metaproxy.filters.rates import Rates
from metaproxy.filters.refusals import refusals
from metaproxy.filters.stage import DecidingStage, Prepared
from metaproxy.protocol.faults import Fault
from metaproxy.protocol.headers import Header
from metaproxy.protocol.limits import fields
from metaproxy.protocol.limits.policy import fits, whole_seconds
from metaproxy.protocol.limits.rates import RateRule
from metaproxy.protocol.limits.table import CompiledRule
from metaproxy.store.counters import Charge, Taken
from metaproxy.telemetry.metrics import Metrics

FAULTS_KEPT = 64
"""So many answers to refused requests are kept: they differ in the seconds until a retry alone."""


class RateLimit(DecidingStage):
    """Lets a request through if every rate that it meets has room, and charges all of them; else none.

    Over a consumer's own rate it answers 413 (or 429, RFC 6585 §4), over a global one 503, both with
    Retry-After in whole seconds, after which the request fits unless others were faster. Reads
    ``identity`` and ``client_address``; adds RateLimit and RateLimit-Policy to ``response_headers``.

    Args:
        app: the next stage.
        rates: the rules with their counters, where others need them too or they have options; else
        rules: the rules, counted in this process with the defaults of ``Rates``.
        over_limit_status: 413 as the compute API has it, or 429.
        headers: whether answers tell the consumer where it stands.
        metrics: counts refusals by rule.
        monotonic: measures how long the store kept a request waiting.
    """

    charges = True

    def __init__(
        self,
        app: ASGIApp,
        *,
        rates: Rates | None = None,
        rules: Sequence[RateRule] = (),
        over_limit_status: Literal[413, 429] = 413,
        headers: bool = True,
        metrics: Metrics | None = None,
        monotonic: Clock = clock.monotonic,
    ) -> None:
        self.app = app
        self._monotonic = monotonic
        if rates is not None and rules:
            raise ValueError("give rates or rules, not both")
        self.rates = rates = rates if rates is not None else Rates(rules, monotonic=monotonic)
        self._over_limit_status = over_limit_status
        self._fault_told_before = lru_cache(maxsize=FAULTS_KEPT)(self._fault)
        self._headers = headers
        metrics = metrics or Metrics()
        refused = refusals(metrics)
        self._refused = {rule.name: refused.cell((rule.name,)) for rule in rates.rules}
        admitted = metrics.counter(
            "metaproxy_limit_admitted", "Requests that a rate rule met and let through.", ("limit",)
        )
        self._admitted = {rule.name: admitted.cell((rule.name,)) for rule in rates.rules}
        metrics.gauge(
            "metaproxy_limit_counters", "Rate counters in this process.", (), lambda: [((), len(rates))]
        )
        metrics.total(
            "metaproxy_limit_without_store",
            "Requests decided while the shared counters were away.",
            (),
            lambda: [((), rates.without_store)],
        )

    def decide(self, exchange: Exchange, scope: Scope) -> bool:
        """Hold the request to its rates from memory; False where the shared store must be asked.

        May be repeated: a request is charged once (``exchange.charged``).
        """
        if exchange.charged:
            return True
        return self.charge(exchange, self.rates.charges(exchange, scope))

    def charge(self, exchange: Exchange, charges: Sequence[Charge]) -> bool:
        """Charge the counters from memory; False where the shared store must be asked."""
        if not charges:
            return True
        taken = self.rates.take(charges)
        if taken is None:
            return False
        self._conclude(exchange, charges, taken)
        return True

    def charge_one(self, exchange: Exchange, charge: Charge) -> bool:
        """Do what ``charge`` does for the one counter that most requests meet."""
        taken = self.rates.take_one(charge)
        if taken is None:
            return False
        if not (taken.admitted and taken.states and self._headers):
            self._conclude(exchange, (charge,), taken)
            return True
        exchange.charged = True
        self._admitted[charge.rule.rule.name].value += 1
        exchange.response_headers += _told_one(charge.rule, taken)
        return True

    def refuse(self, exchange: Exchange, charges: Sequence[Charge]) -> None:
        """Raise the Fault of a request that the counters have no room for, if they are in memory."""
        taken = self.rates.refusal(charges)
        if taken is not None:
            self._conclude(exchange, charges, taken)

    def refuse_one(self, exchange: Exchange, charge: Charge) -> Fault | None:
        """Return the Fault that ``refuse`` would raise for the one counter that most requests meet."""
        taken = self.rates.refusal_of_one(charge)
        if taken is None:
            return None
        exchange.charged, rule = True, charge.rule
        if self._headers:
            exchange.response_headers += _told_one(rule, taken)
        self._refused[rule.rule.name].value += 1
        seconds = whole_seconds(rule.policy.wait(taken.states[0], taken.now))
        return self._fault_told_before(seconds, is_global=rule.rule.is_global)

    def prepared(self, exchange: Exchange, scope: Scope) -> "Prepared":
        """Return the decision on requests like this one: the counters that they meet are known."""
        charges = self.rates.charges(exchange, scope)
        kind = _PreparedLimitOfOne if len(charges) == 1 else _PreparedLimit
        return kind(self, scope, charges)

    async def handle(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what is within its rates."""
        if not self.decide(exchange, scope):
            await self._ask_store(exchange, scope)
        await self.app(scope, receive, send)

    async def _ask_store(self, exchange: Exchange, scope: Scope) -> None:
        charges = self.rates.charges(exchange, scope)
        begun = self._monotonic()
        try:
            taken = await self.rates.take_shared(charges)
        finally:
            exchange.waited("store", self._monotonic() - begun, begun)
        self._conclude(exchange, charges, taken)

    def _conclude(self, exchange: Exchange, charges: Sequence[Charge], taken: Taken) -> None:
        exchange.charged = True
        if taken.admitted:
            for _, _, rule in charges:
                self._admitted[rule.rule.name].value += 1
        if not taken.states:
            return
        if self._headers:
            exchange.response_headers += _told(charges, taken)
        if not taken.admitted:
            raise self._refusal(charges, taken)

    def _refusal(self, charges: Sequence[Charge], taken: Taken) -> Fault:
        """The fault for a request to which at least one of the rates said no."""
        seconds, is_global = 0, False
        for (_, _, rule), state in zip(charges, taken.states, strict=True):
            if not fits(rule.policy, state):
                seconds = max(seconds, whole_seconds(rule.policy.wait(state, taken.now)))
                is_global = is_global or rule.rule.is_global
                self._refused[rule.rule.name].value += 1
        return self._fault(seconds, is_global=is_global)

    def _fault(self, seconds: int, *, is_global: bool) -> Fault:
        if is_global:
            message = f"The service is at its limit. Retry after {seconds} seconds."
            return Fault(503, message, reason="global_rate_exceeded", retry_after=seconds)
        message = f"This request was rate-limited. Retry after {seconds} seconds."
        return Fault(self._over_limit_status, message, reason="rate_exceeded", retry_after=seconds)


class _PreparedLimit(Prepared):
    """Charges the counters that were found before."""

    __slots__ = ("_charges", "_limit")

    def __init__(self, limit: RateLimit, scope: Scope, charges: Sequence[Charge]) -> None:
        super().__init__(limit, scope)
        self._limit = limit
        self._charges = charges

    def decide(self, exchange: Exchange) -> bool:
        return self._limit.charge(exchange, self._charges)

    def refuse(self, exchange: Exchange) -> Fault | None:
        self._limit.refuse(exchange, self._charges)
        return None


class _PreparedLimitOfOne(_PreparedLimit):
    """Charges the one counter that was found before."""

    def decide(self, exchange: Exchange) -> bool:
        return self._limit.charge_one(exchange, self._charges[0])

    def refuse(self, exchange: Exchange) -> Fault | None:
        return self._limit.refuse_one(exchange, self._charges[0])


def _told(charges: Sequence[Charge], taken: Taken) -> tuple[Header, Header]:
    """The fields that tell the consumer where it stands with each rule that it met."""
    if len(charges) == 1:
        return _told_one(charges[0].rule, taken)
    limits = [
        fields.limit_item(rule.quoted_name, rule.policy, state, taken.now)
        for (_, _, rule), state in zip(charges, taken.states, strict=True)
    ]
    policies = [rule.policy_item for _, _, rule in charges]
    return (fields.LIMIT, b", ".join(limits)), (fields.POLICY, b", ".join(policies))


def _told_one(rule: CompiledRule, taken: Taken) -> tuple[Header, Header]:
    limit = fields.limit_item(rule.quoted_name, rule.policy, taken.states[0], taken.now)
    return (fields.LIMIT, limit), (fields.POLICY, rule.policy_item)
