"""The fixed window, Repose's way of counting.

A window begins with the first request after the last one ended, lasts a period, and admits ``limit``
requests. Hence the promise: at most ``limit`` in each window. Two windows may meet, so a stretch of one
period may see almost twice as many; who minds takes GCRA.
"""

from dataclasses import dataclass

from metaproxy.protocol.limits.policy import MICROSECONDS, State
from metaproxy.protocol.limits.rates import RateRule


@dataclass(frozen=True, slots=True)
class FixedWindow:
    """A window of requests. ``pace`` is its length in microseconds; a request weighs one."""

    capacity: int
    pace: int
    weight: int = 1

    @classmethod
    def of(cls, rule: RateRule) -> "FixedWindow":
        """Return the window of ``rule``."""
        return cls(rule.limit, rule.period_seconds * MICROSECONDS)

    @property
    def horizon(self) -> int:
        """The length of the window."""
        return self.pace

    def settle(self, state: State, now: int) -> State:
        """Begin a new window where the old one has ended.

        A clock that went back moves the window's beginning with it: nobody waits longer than a period.
        """
        amount, since = state
        if now < since:
            return amount, now
        return state if amount and now < since + self.pace else (0, now)

    def admit(self, state: State, now: int, cost: int = 1) -> tuple[bool, State]:
        """Count ``cost`` requests in the window of ``now`` if they fit."""
        amount, since = settled = self.settle(state, now)
        if amount + cost > self.capacity:
            return False, settled
        return True, (amount + cost, since)

    def standing(self, settled: State, now: int) -> tuple[int, int]:
        """Return how many requests fit, and the time until the window ends."""
        return max(self.capacity - settled[0], 0), self.renewal(settled, now)

    def wait(self, settled: State, now: int, cost: int = 1) -> int:
        """Return the time until the window ends, where ``cost`` requests no longer fit."""
        return settled[1] + self.pace - now if settled[0] + cost > self.capacity else 0

    def renewal(self, settled: State, now: int) -> int:
        """Return the time until the window ends, where anything is spent."""
        return settled[1] + self.pace - now if settled[0] else 0
