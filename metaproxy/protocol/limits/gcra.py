"""The generic cell rate algorithm, as a bucket that leaks continuously (ITU-T I.371, annex A).

A bucket holds ``burst`` requests and leaks ``limit`` of them per period. A request is admitted if it
still fits. Hence the promise: in any stretch of t seconds at most burst + limit · t / period requests
are admitted, and a consumer who keeps to the rate is never refused.

Units make this exact: a request weighs ``period / g`` units and the bucket leaks ``limit / g`` units a
microsecond, where g is the greatest common divisor of both, so nothing is ever rounded. Only where a
bucket would hold more units than Redis can count (2^53) is a request's weight rounded, up.
"""

from dataclasses import dataclass
from math import gcd

from metaproxy.protocol.limits.policy import MICROSECONDS, State
from metaproxy.protocol.limits.rates import RateRule

MOST_UNITS = 2**53


@dataclass(frozen=True, slots=True)
class Gcra:
    """A leaking bucket. ``pace`` is the units that leak in a microsecond."""

    weight: int
    capacity: int
    pace: int

    @classmethod
    def of(cls, rule: RateRule) -> "Gcra":
        """Return the bucket of ``rule``, whose burst a year refills (``LONGEST_REFILL``)."""
        period = rule.period_seconds * MICROSECONDS
        divisor = gcd(rule.limit, period)
        weight, pace = period // divisor, rule.limit // divisor
        burst = rule.burst or rule.limit
        if burst * weight > MOST_UNITS:
            pace = max(pace * MOST_UNITS // (burst * weight) - 1, 1)
            weight = -(-period * pace // rule.limit)
        return cls(weight, burst * weight, pace)

    @property
    def horizon(self) -> int:
        """The time in which a full bucket runs empty."""
        return -(-self.capacity // self.pace)

    def settle(self, state: State, now: int) -> State:
        """Let the bucket leak until ``now``. A clock that went back leaks nothing."""
        amount, since = state
        elapsed = now - since
        if elapsed <= 0:
            return amount, now
        leaked = amount - elapsed * self.pace
        return (leaked if leaked > 0 else 0), now

    def admit(self, state: State, now: int, cost: int = 1) -> tuple[bool, State]:
        """Let the bucket leak until ``now``, then take ``cost`` requests in if they fit."""
        amount, since = state
        elapsed = now - since
        if elapsed > 0:
            amount = max(amount - elapsed * self.pace, 0)
        filled = amount + cost * self.weight
        if filled > self.capacity:
            return False, (amount, now)
        return True, (filled, now)

    def standing(self, settled: State, now: int) -> tuple[int, int]:
        """Return how many requests fit, and the time until one more does."""
        amount = settled[0]
        if amount <= 0:
            return self.capacity // self.weight, 0
        free = self.capacity - amount
        if free < 0:
            return 0, self.renewal(settled, now)
        fit, spare = divmod(free, self.weight)
        missing = self.weight - spare
        return fit, -(-(missing if missing < amount else amount) // self.pace)

    def wait(self, settled: State, now: int, cost: int = 1) -> int:
        """Return the time in which enough leaks for ``cost`` requests to fit."""
        surplus = settled[0] + cost * self.weight - self.capacity
        return -(-surplus // self.pace) if surplus > 0 else 0

    def renewal(self, settled: State, now: int) -> int:
        """Return the time until one request more fits than now."""
        amount = settled[0]
        if amount <= 0:
            return 0
        free = self.capacity - amount
        wanted = (max(free // self.weight, 0) + 1) * self.weight
        return -(-min(wanted - free, amount) // self.pace)
