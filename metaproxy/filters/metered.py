"""The one rate that most requests meet, where its counter is in this process: held in the fewest steps."""

from typing import TYPE_CHECKING

from metaproxy.check import Decided, Prepared
from metaproxy.exchange import Exchange
from metaproxy.protocol.limits.fields import LIMIT, POLICY, limit_item
from metaproxy.protocol.limits.policy import State, whole_seconds
from metaproxy.store.counters import Charge
from metaproxy.store.memory import Meter
from metaproxy.verdicts import PASS, Verdict

if TYPE_CHECKING:
    from metaproxy.filters.limit import RateLimit


class MeteredRate(Prepared):
    """A rate rule as one consumer meets it, with whatever request.

    Args:
        limit: the stage.
        charge: what a request is charged to.
        meter: its counter.
    """

    __slots__ = (
        "_admitted",
        "_consumer",
        "_decided",
        "_is_global",
        "_limit",
        "_meter",
        "_name",
        "_policy",
        "_policy_field",
        "_policy_line",
        "_refused",
        "_refused_for",
        "_top",
    )

    def __init__(self, limit: "RateLimit", charge: Charge, meter: Meter) -> None:
        rule = charge.rule
        self._limit = limit
        self._consumer = charge.consumer
        self._meter = meter
        self._policy = rule.policy
        self._name = rule.quoted_name
        self._policy_field = POLICY, rule.policy_item
        self._policy_line = b"%b: %b\r\n" % self._policy_field
        self._is_global = rule.rule.is_global
        self._admitted = limit.admitted[rule.rule.name]
        self._refused = limit.refused[rule.rule.name]
        self._top = limit.rates.top_consumers
        self._refused_for = -1
        self._decided: Decided

    def decide(self, exchange: Exchange) -> Verdict:
        """Charge the request of ``exchange``, and write for the client where the consumer stands."""
        limit = self._limit
        now = limit.rates.monotonic()
        admitted, state, moment = self._meter.take(now)
        self._top.record(self._consumer, now, refused=not admitted)
        if limit.headers:
            standing = limit_item(self._name, self._policy, state, moment)
            exchange.response_headers += (LIMIT, standing), self._policy_field
        if admitted:
            self._admitted.value += 1
            return PASS
        self._refused.value += 1
        return limit.fault(self._seconds(state, moment), is_global=self._is_global)

    def admit(self, now: float) -> Decided:
        """Charge a request that comes ``now`` (monotonic seconds)."""
        admitted, state, moment = self._meter.take(now)
        self._top.record(self._consumer, now, refused=not admitted)
        if not admitted:
            return self._refusal(state, moment)
        self._admitted.value += 1
        return None, self._told(state, moment)

    def refuse(self, now: float) -> Decided | None:
        """Do what ``admit`` does where there is no room; else charge and count nothing."""
        refused = self._meter.refusal(now)
        if refused is None:
            return None
        self._top.record(self._consumer, now, refused=True)
        return self._refusal(*refused)

    def _refusal(self, state: State, moment: int) -> Decided:
        """What is told is the same for a second: nothing fits, and the next request does after the wait."""
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
