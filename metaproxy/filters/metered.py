"""Rates whose counters are known: held in the fewest steps.

That is the one rate that most requests meet, and all rates of a request that came before. They charge,
count and write for the client what ``RateLimit`` charges, counts and writes.
"""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.types import Scope

from metaproxy.check import GOES_ON, Decided, Prepared
from metaproxy.exchange import Exchange
from metaproxy.protocol.faults import Fault
from metaproxy.protocol.headers import lines
from metaproxy.protocol.limits.fields import LIMIT, POLICY, limit_item
from metaproxy.protocol.limits.policy import State, whole_seconds
from metaproxy.store.counters import Charge, Metered, SendingMeter, Taken
from metaproxy.store.leases import LeasedMeter
from metaproxy.store.memory import Meter
from metaproxy.verdicts import PASS, Resume, Verdict

if TYPE_CHECKING:
    from metaproxy.filters.limit import RateLimit


def prepared_limit(limit: "RateLimit", exchange: Exchange, scope: Scope) -> Prepared:
    """Return the decision of ``limit`` on requests like this one."""
    charges = limit.charges_of(exchange, scope)
    metered = limit.metered(charges)
    return metered if metered is not None else _Counted(limit, charges)


class MeteredRate(Prepared):
    """A rate rule as one consumer meets it, with whatever request."""

    __slots__ = (
        "_admitted",
        "_awaited",
        "_consumer",
        "_decided",
        "_is_global",
        "_limit",
        "_may_ask",
        "_meter",
        "_name",
        "_policy",
        "_policy_field",
        "_policy_line",
        "_refused",
        "_refused_for",
        "_top",
    )

    def __init__(self, limit: "RateLimit", charge: Charge, meter: Meter | LeasedMeter | SendingMeter) -> None:
        rule = charge.rule
        self._limit = limit
        self._consumer = charge.consumer
        self._meter = meter
        self._may_ask = not isinstance(meter, Meter)
        self._policy = rule.policy
        self._name = rule.quoted_name
        self._policy_field = POLICY, rule.policy_item
        self._policy_line = b"%b: %b\r\n" % self._policy_field
        self._is_global = rule.rule.is_global
        self._admitted = limit.admitted[rule.rule.name]
        self._refused = limit.refused[rule.rule.name]
        self._top = limit.rates.top_consumers
        self._awaited = _Counted(limit, (charge,))
        self._refused_for = -1
        self._decided: Decided

    def decide(self, exchange: Exchange) -> Verdict:
        """Charge the request of ``exchange``, and write for the client where the consumer stands."""
        limit = self._limit
        now = limit.rates.monotonic()
        meter = self._meter
        taken = meter.take(now)
        if taken is None:
            send = partial(self._send, meter, exchange) if isinstance(meter, SendingMeter) else None
            return limit.charge_all(exchange, self._awaited.charges, send)
        return self._verdict(exchange, now, taken)

    def _send(self, meter: SendingMeter, exchange: Exchange, resume: Resume) -> bool:
        return meter.send(partial(resume, self._replied, meter, exchange, self._limit.rates.monotonic()))

    def _replied(self, meter: SendingMeter, exchange: Exchange, begun: float, reply: Any) -> Verdict:
        now = self._limit.rates.monotonic()
        exchange.waited("store", now - begun, begun)
        taken = meter.taken(reply)
        if taken is None:
            return self._limit.charge_all(exchange, self._awaited.charges)
        return self._verdict(exchange, now, taken)

    def _verdict(self, exchange: Exchange, now: float, taken: Metered) -> Verdict:
        limit = self._limit
        admitted, state, moment = taken
        self._top.record(self._consumer, now, refused=not admitted)
        if limit.headers:
            standing = limit_item(self._name, self._policy, state, moment)
            exchange.response_headers += (LIMIT, standing), self._policy_field
        if admitted:
            self._admitted.value += 1
            return PASS
        self._refused.value += 1
        return limit.fault(self._seconds(state, moment), is_global=self._is_global)

    def admit(self, now: float) -> Decided | None:
        """Charge a request that comes ``now`` (monotonic seconds)."""
        taken = self._meter.take(now)
        if taken is None:
            return self._awaited.admit(now)
        admitted, state, moment = taken
        self._top.record(self._consumer, now, refused=not admitted)
        if not admitted:
            return self._refusal(state, moment)
        self._admitted.value += 1
        return None, self._told(state, moment)

    def can_decide(self, now: float) -> bool:
        """Say whether the counter is in this process, or has a slice here."""
        return self._meter.can_take(now) or self._awaited.can_decide(now)

    def refuse(self, now: float) -> Decided | None:
        """Do what ``admit`` does where there is no room; else charge and count nothing."""
        refused = self._meter.refusal(now)
        if refused is None:
            return self._awaited.refuse(now) if self._may_ask else None
        self._top.record(self._consumer, now, refused=True)
        return self._refusal(*refused)

    def _refusal(self, state: State, moment: int) -> Decided:
        """Return the refusal, which is the same for a second: nothing fits until the wait is over."""
        self._refused.value += 1
        seconds = self._seconds(state, moment)
        if seconds != self._refused_for:
            fault = self._limit.fault(seconds, is_global=self._is_global)
            self._refused_for, self._decided = seconds, (fault, self._told(state, moment))
        return self._decided

    def _seconds(self, state: State, moment: int) -> int:
        return whole_seconds(self._policy.wait(state, moment))

    def _told(self, state: State, moment: int) -> bytes:
        if not self._limit.headers:
            return b""
        standing = limit_item(self._name, self._policy, state, moment)
        return b"%b: %b\r\n%b" % (LIMIT, standing, self._policy_line)


class _Counted(Prepared):
    """Charges the counters that were found before."""

    __slots__ = ("_limit", "charges")

    def __init__(self, limit: "RateLimit", charges: Sequence[Charge]) -> None:
        self._limit = limit
        self.charges = charges

    def decide(self, exchange: Exchange) -> Verdict:
        return self._limit.charge(exchange, self.charges) if self.charges else PASS

    def can_decide(self, now: float) -> bool:
        return not self.charges or self._limit.rates.can_take(self.charges, now)

    def admit(self, now: float) -> Decided | None:
        return self._decided(self._limit.rates.take(self.charges, now)) if self.charges else GOES_ON

    def refuse(self, now: float) -> Decided | None:
        return self._decided(self._limit.rates.refusal(self.charges)) if self.charges else GOES_ON

    def _decided(self, taken: Taken | Fault | None) -> Decided | None:
        if taken is None:
            return None
        fault, told = self._limit.concluded(self.charges, taken)
        return fault, lines(told)
