"""Which target is asked: healthy before unhealthy, then the least busy, then each in turn."""

import math
from collections.abc import Sequence

from metaproxy.clock import Clock
from metaproxy.forward.breaker import BreakerState
from metaproxy.forward.target import Target
from metaproxy.protocol.faults import Fault


class Balancer:
    """Chooses among ``targets``; ``monotonic`` is the breakers' clock."""

    def __init__(self, targets: Sequence[Target], *, monotonic: Clock) -> None:
        self._targets = tuple(targets)
        self._only = self._targets[0] if len(self._targets) == 1 else None
        self._monotonic = monotonic
        self._turn = 0

    def choose(self, tried: Sequence[Target] = ()) -> Target:
        """Return the target to ask next, one of those not yet ``tried`` where there is one.

        An unhealthy target is still better than none: checks can be wrong about all of them at once. One
        whose breaker is open is never asked. Raises Fault (503) where that leaves none.
        """
        if self._only is not None and self._only.breaker.state is BreakerState.CLOSED:
            return self._only
        now = self._monotonic()
        allowed = [target for target in self._in_turn() if target.breaker.allows(now)]
        if not allowed:
            raise self._none(now)
        if len(allowed) == 1:
            return allowed[0]
        return min(allowed, key=lambda target: (target in tried, not target.health.is_healthy, target.busy))

    def has_other(self, tried: Sequence[Target]) -> bool:
        """Say whether a target that is not ``tried`` may be asked."""
        now = self._monotonic()
        return any(target not in tried and target.breaker.allows(now) for target in self._targets)

    def _in_turn(self) -> Sequence[Target]:
        # Of equals, min() takes the first: let it be another one each time.
        self._turn = (self._turn + 1) % len(self._targets)
        return self._targets[self._turn :] + self._targets[: self._turn]

    def _none(self, now: float) -> Fault:
        seconds = min(target.breaker.seconds_left(now) for target in self._targets)
        return Fault(
            503,
            "The upstream service is unavailable.",
            reason="upstream_unavailable",
            retry_after=max(math.ceil(seconds), 1),
        )
