"""The verdict on a target that is checked now and then. No clock and no I/O."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HealthPolicy:
    """How targets are watched.

    ``path`` is asked for every ``interval`` seconds. ``unhealthy_after`` failures in a row take a
    target out, for ``eject_for`` seconds at least and until ``healthy_after`` successes in a row.
    """

    path: str = "/"
    interval: float = 5.0
    unhealthy_after: int = 3
    healthy_after: int = 2
    eject_for: float = 10.0


class Health:
    """Whether a target is healthy, by the checks in a row that said so."""

    def __init__(self, policy: HealthPolicy) -> None:
        self._policy = policy
        self._last = True
        self._in_a_row = 0
        self._out_until = 0.0
        self.is_healthy = True

    @property
    def is_failing(self) -> bool:
        """Whether the last check failed, or earlier ones have taken the target out."""
        return not (self._last and self.is_healthy)

    def checked(self, now: float, *, healthy: bool) -> None:
        """Take the result of one check at ``now``, in monotonic seconds."""
        self._in_a_row = self._in_a_row + 1 if healthy == self._last else 1
        self._last = healthy
        if not healthy and self._in_a_row == self._policy.unhealthy_after:
            self.is_healthy, self._out_until = False, now + self._policy.eject_for
        elif healthy and self._in_a_row >= self._policy.healthy_after and now >= self._out_until:
            self.is_healthy = True
