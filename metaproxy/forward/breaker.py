"""The circuit breaker: leaving a target alone that fails under real requests.

Closed, every request may pass. So many failures inside the window open it: nothing passes. When it has
been open for long enough, one request tries; its success closes the breaker, its failure opens it anew.
No clock and no I/O: the caller says what time it is.
"""

from collections import deque
from enum import Enum
from typing import Annotated

from pydantic import Field

from metaproxy.settings.section import Section
from metaproxy.settings.units import PositiveDuration
from metaproxy.settings.values import Failures, Number

FailureStatus = Annotated[Number, Field(ge=500, le=599)]


class BreakerPolicy(Section):
    """When a target that fails under real requests is left alone."""

    failures: Failures = 20
    """Failures inside the window that open the breaker."""
    window: PositiveDuration = 10.0
    """The time over which failures are counted."""
    open_for: PositiveDuration = 5.0
    """How long an open breaker refuses; then one request tries."""
    statuses: tuple[FailureStatus, ...] = ()
    """Answers that count as failures of a target, such as [502, 503]; never of the only one."""


class BreakerState(Enum):
    """States: what the breaker does with a request; the numbers are those of the metric."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class Breaker:
    """Counts failures and decides who may pass. ``now`` is monotonic seconds, everywhere."""

    def __init__(self, policy: BreakerPolicy) -> None:
        self._policy = policy
        self._failures: deque[float] = deque(maxlen=policy.failures)
        self._opens_until = 0.0
        self.state = BreakerState.CLOSED

    def allows(self, now: float) -> bool:
        """Say whether a request may pass."""
        if self.state is BreakerState.OPEN:
            return now >= self._opens_until
        return self.state is BreakerState.CLOSED

    @property
    def is_closed(self) -> bool:
        """True if every request may pass."""
        return self.state is BreakerState.CLOSED

    def seconds_left(self, now: float) -> float:
        """Return for how long nothing passes; 0.0 if it is not known."""
        return max(self._opens_until - now, 0.0)

    def enter(self) -> bool:
        """Let a request pass that is allowed; return whether it is the one that tries."""
        if self.state is BreakerState.CLOSED:
            return False
        self.state = BreakerState.HALF_OPEN
        return True

    def succeeded(self, *, trial: bool) -> None:
        """A request that passed has been answered."""
        if trial:
            self.state = BreakerState.CLOSED
            self._failures.clear()

    def failed(self, now: float, *, trial: bool) -> None:
        """A request that passed has failed. One that passed before the breaker opened changes nothing."""
        if trial:
            self._open(now)
        elif self.state is BreakerState.CLOSED:
            self._failures.append(now)
            full = len(self._failures) == self._policy.failures
            if full and now - self._failures[0] <= self._policy.window:
                self._open(now)

    def withdrawn(self, *, trial: bool) -> None:
        """A request that passed ended without telling anything of the target: another may try."""
        if trial:
            self.state = BreakerState.OPEN

    def _open(self, now: float) -> None:
        self.state = BreakerState.OPEN
        self._opens_until = now + self._policy.open_for
        self._failures.clear()
