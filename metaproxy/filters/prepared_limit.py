"""Rates of a request that came before: its counters are known, most often it is one.

What is charged, counted and told is what ``RateLimit`` charges, counts and tells; here it is done in the
fewest steps.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from starlette.types import Scope

from metaproxy.exchange import Exchange
from metaproxy.filters.stage import Decided, Prepared
from metaproxy.protocol.headers import lines
from metaproxy.protocol.limits.fields import LIMIT, POLICY
from metaproxy.protocol.limits.policy import MICROSECONDS, State, whole_seconds
from metaproxy.store.counters import Charge
from metaproxy.store.memory import Meter

if TYPE_CHECKING:
    from metaproxy.filters.limit import RateLimit


def prepared_limit(limit: "RateLimit", exchange: Exchange, scope: Scope) -> Prepared:
    """Return the decision of ``limit`` on requests like this one."""
    charges = limit.rates.charges(exchange, scope)
    meter = limit.rates.meter(charges[0]) if len(charges) == 1 else None
    if meter is None:
        return _PreparedLimit(limit, exchange, scope, charges)
    return _PreparedMeter(limit, exchange, scope, charges, meter)


class _PreparedLimit(Prepared):
    """Charges the counters that were found before."""

    __slots__ = ("_charges", "_limit")

    def __init__(
        self, limit: "RateLimit", exchange: Exchange, scope: Scope, charges: Sequence[Charge]
    ) -> None:
        super().__init__(limit, exchange, scope)
        self._limit = limit
        self._charges = charges

    def decide(self, exchange: Exchange) -> bool:
        return self._limit.charge(exchange, self._charges)

    def admit(self, now: float) -> Decided | None:
        if not self._charges:
            return None, b""
        taken = self._limit.rates.take(self._charges)
        if taken is None:
            return None
        fault, told = self._limit.concluded(self._charges, taken)
        return fault, lines(told)

    def refuse(self, now: float) -> Decided | None:
        taken = self._limit.rates.refusal(self._charges)
        if taken is None:
            return None
        fault, told = self._limit.concluded(self._charges, taken)
        return fault, lines(told)


class _PreparedMeter(_PreparedLimit):
    """Charges the one counter, which is in this process."""

    __slots__ = (
        "_admitted",
        "_consumer",
        "_fault",
        "_is_global",
        "_limit_line",
        "_meter",
        "_policy",
        "_policy_line",
        "_refused",
        "_top",
    )

    def __init__(
        self,
        limit: "RateLimit",
        exchange: Exchange,
        scope: Scope,
        charges: Sequence[Charge],
        meter: Meter,
    ) -> None:
        super().__init__(limit, exchange, scope, charges)
        ((_, self._consumer, rule),) = charges
        self._meter = meter
        self._policy = rule.policy
        self._limit_line = b"%b: %b" % (LIMIT, rule.quoted_name) if limit.headers else b""
        self._policy_line = b"%b: %b" % (POLICY, rule.policy_item)
        self._is_global = rule.rule.is_global
        self._admitted = limit.admitted[rule.rule.name]
        self._refused = limit.refused[rule.rule.name]
        self._top = limit.rates.top_consumers
        self._fault = limit.kept_fault

    def admit(self, now: float) -> Decided | None:
        admitted, state, moment = self._meter.take(now)
        self._top.record(self._consumer, now, refused=not admitted)
        if not admitted:
            return self._refusal(state, moment)
        self._admitted.value += 1
        return None, self._told(state, moment)

    def refuse(self, now: float) -> Decided | None:
        refused = self._meter.refusal(now)
        if refused is None:
            return None
        self._top.record(self._consumer, now, refused=True)
        return self._refusal(*refused)

    def _refusal(self, state: State, moment: int) -> Decided:
        self._refused.value += 1
        seconds = whole_seconds(self._policy.wait(state, moment))
        return self._fault(seconds, is_global=self._is_global), self._told(state, moment)

    def _told(self, state: State, moment: int) -> bytes:
        if not self._limit_line:
            return b""
        remaining, renewal = self._policy.standing(state, moment)
        seconds = -(-renewal // MICROSECONDS)
        return b"%b;r=%d;t=%d\r\n%b\r\n" % (self._limit_line, remaining, seconds, self._policy_line)
