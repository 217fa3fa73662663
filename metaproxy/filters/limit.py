"""Stage 5: every consumer is held to its rates."""

from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any

from starlette.types import ASGIApp, Scope

from metaproxy import clock
from metaproxy.check import Check, Prepared, no_application
from metaproxy.clock import Clock
from metaproxy.exchange import Exchange
from metaproxy.filters.metered import MeteredRate, prepared_limit
from metaproxy.filters.rates import Rates
from metaproxy.filters.refusals import refusals
from metaproxy.memo import Memo
from metaproxy.protocol.faults import Fault
from metaproxy.protocol.headers import Header
from metaproxy.protocol.limits import fields
from metaproxy.protocol.limits.policy import fits, whole_seconds
from metaproxy.protocol.limits.rates import RateRule
from metaproxy.store.counters import Charge, Taken
from metaproxy.telemetry.metrics import Metrics
from metaproxy.verdicts import PASS, Send, Verdict, Wait

CACHED_FAULTS = 64
"""The number of refusals that are cached: they differ in the seconds until a retry alone."""

METERED_KEPT = 4096


class RateLimit(Check):
    """Lets a request through if every rate that it meets has room, and charges all of them; else none.

    Over a consumer's own rate it answers 413 (or 429, RFC 6585 §4), over a global one 503, both with
    Retry-After in whole seconds, after which the request fits unless others were faster. Reads
    ``identity`` and ``client_address``; adds RateLimit and RateLimit-Policy to ``response_headers``.

    With ``before_identity`` it stands in front of the stage that authenticates, and holds the rules that say
    so: an attempt counts whether its token is valid or not.

    Args:
        rates: the rules with their counters, if others need them, too; else
        rules: the rules, counted in this process.
        before_identity: whether the stage holds the rules before identity, or those behind it.
        metrics: counts refusals by rule.
        options: the options of ``Rates`` by name, beside ``rules``: ``over_limit_status``, ``headers``, …
    """

    passes_any_target = True

    def __init__(
        self,
        app: ASGIApp = no_application,
        /,
        *,
        rates: Rates | None = None,
        rules: Sequence[RateRule] = (),
        before_identity: bool = False,
        metrics: Metrics | None = None,
        monotonic: Clock = clock.monotonic,
        **options: Any,
    ) -> None:
        self.app = app
        self._monotonic = monotonic
        if rates is not None and (rules or options):
            raise ValueError("give rates or rules with options, not both")
        if any(rule.before_identity != before_identity for rule in rules):
            raise ValueError("a stage holds the rules before identity or those behind it, not both")
        self.before_identity = before_identity
        self.rates = rates = rates if rates is not None else Rates(rules, monotonic=monotonic, **options)
        self._over_limit_status = rates.settings.over_limit_status
        self.headers = rates.settings.headers
        self.fault = lru_cache(maxsize=CACHED_FAULTS)(self._fault)
        """Returns the refusal of a request that may come again in so many seconds."""
        self.holds_for_kinds = rates.meet_kinds(before_identity=before_identity)
        self._metered: Memo[str, MeteredRate] = Memo(METERED_KEPT)
        metrics = metrics or Metrics()
        refused = refusals(metrics)
        self.refused = {rule.name: refused.cell((rule.name,)) for rule in rates.rules}
        admitted = metrics.counter(
            "metaproxy_limit_admitted", "Requests that a rate rule met and let through.", ("limit",)
        )
        self.admitted = {rule.name: admitted.cell((rule.name,)) for rule in rates.rules}
        metrics.gauge(
            "metaproxy_limit_counters", "Rate counters in this process.", (), lambda: [((), len(rates))]
        )
        metrics.total(
            "metaproxy_limit_without_store",
            "Requests decided while the shared counters were away.",
            (),
            lambda: [((), rates.without_store)],
        )

    def decide(self, exchange: Exchange, scope: Scope) -> Verdict:
        """Hold the request to its rates, in memory or in the shared store."""
        charges = self.charges_of(exchange, scope)
        return self.charge(exchange, charges) if charges else PASS

    def prepared(self, exchange: Exchange, scope: Scope) -> Prepared:
        """Return the decision about requests like this one: the counters that they meet are known."""
        return prepared_limit(self, exchange, scope)

    def charges_of(self, exchange: Exchange, scope: Scope) -> Sequence[Charge]:
        """Return the counters that this check would charge the request to."""
        if self.before_identity:
            return self.rates.early_charges(exchange, scope)
        return self.rates.charges(exchange, scope)

    def charge(self, exchange: Exchange, charges: Sequence[Charge]) -> Verdict:
        """Charge the counters: in memory, or else in the shared store."""
        metered = self.metered(charges)
        if metered is not None:
            return metered.decide(exchange)
        return self.charge_all(exchange, charges)

    def charge_all(self, exchange: Exchange, charges: Sequence[Charge], send: Send | None = None) -> Verdict:
        """Do what ``charge`` does, whatever the number of counters; ``send`` is that of the wait."""
        taken = self.rates.take(charges)
        if taken is None:
            return Wait(partial(self._ask_store, exchange, charges), send)
        return self._conclude(exchange, charges, taken)

    def metered(self, charges: Sequence[Charge]) -> MeteredRate | None:
        """Return what holds the one rate that is met; None if there are several."""
        if len(charges) != 1:
            return None
        charge = charges[0]
        known = self._metered.get(charge.key)
        if known is None:
            known = self._metered.keep(charge.key, MeteredRate(self, charge, self.rates.meter(charge)))
        return known

    async def _ask_store(self, exchange: Exchange, charges: Sequence[Charge]) -> Verdict:
        begun = self._monotonic()
        try:
            taken = await self.rates.take_shared(charges)
        finally:
            exchange.waited("store", self._monotonic() - begun, begun)
        return self._conclude(exchange, charges, taken)

    def _conclude(self, exchange: Exchange, charges: Sequence[Charge], taken: Taken | Fault) -> Verdict:
        fault, told = self.concluded(charges, taken)
        exchange.response_headers += told
        return PASS if fault is None else fault

    def concluded(
        self, charges: Sequence[Charge], taken: Taken | Fault
    ) -> tuple[Fault | None, Sequence[Header]]:
        """Count what ``taken`` says of ``charges``; return the refusal that it means, and header fields."""
        if isinstance(taken, Fault):
            return taken, ()
        if taken.admitted:
            for _, _, rule in charges:
                self.admitted[rule.rule.name].value += 1
        told = _told(charges, taken) if self.headers and taken.states else ()
        return None if taken.admitted else self._refusal(charges, taken), told

    def _refusal(self, charges: Sequence[Charge], taken: Taken) -> Fault:
        """The fault for a request to which at least one of the rates said no."""
        seconds, is_global = 0, False
        for (_, _, rule), state in zip(charges, taken.states, strict=True):
            if not fits(rule.policy, state):
                seconds = max(seconds, whole_seconds(rule.policy.wait(state, taken.now)))
                is_global = is_global or rule.rule.is_global
                self.refused[rule.rule.name].value += 1
        return self.fault(seconds, is_global=is_global)

    def _fault(self, seconds: int, *, is_global: bool) -> Fault:
        if is_global:
            message = f"The service is at its limit. Retry after {seconds} seconds."
            return Fault(503, message, reason="global_rate_exceeded", retry_after=seconds)
        message = f"This request was rate-limited. Retry after {seconds} seconds."
        return Fault(self._over_limit_status, message, reason="rate_exceeded", retry_after=seconds)


def _told(charges: Sequence[Charge], taken: Taken) -> tuple[Header, Header]:
    """The fields that tell the consumer where it stands with each rule that it met."""
    limits = [
        fields.limit_item(rule.quoted_name, rule.policy, state, taken.now)
        for (_, _, rule), state in zip(charges, taken.states, strict=True)
    ]
    policies = [rule.policy_item for _, _, rule in charges]
    return (fields.LIMIT, b", ".join(limits)), (fields.POLICY, b", ".join(policies))
