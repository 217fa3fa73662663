"""The verdict on a target that is checked now and then. No clock and no I/O."""

from typing import Annotated

from metaproxy.settings.section import Section
from metaproxy.settings.units import PositiveDuration
from metaproxy.settings.values import Failures
from metaproxy.settings.written import text_of

RequestPath = Annotated[
    str, text_of("request-path", r"/[!-~]*", "a path starts with '/' and has no spaces: /healthcheck", "/")
]


class HealthPolicy(Section):
    """How targets are watched."""

    path: RequestPath = "/"
    """The path of the check; any answer below 500 is healthy."""
    interval: PositiveDuration = 5.0
    """Time between two checks of a target."""
    unhealthy_after: Failures = 3
    """Failures in a row that take a target out."""
    healthy_after: Failures = 2
    """Successes in a row that take it in again."""
    eject_for: PositiveDuration = 10.0
    """How long a target that was taken out stays out at least."""


class Health:
    """True if a target is healthy, by the checks in a row that said so."""

    def __init__(self, policy: HealthPolicy) -> None:
        self._policy = policy
        self._last = True
        self._in_a_row = 0
        self._out_until = 0.0
        self.is_healthy = True

    @property
    def is_failing(self) -> bool:
        """True if the last check failed, or earlier ones have taken the target out."""
        return not (self._last and self.is_healthy)

    def checked(self, now: float, *, healthy: bool) -> None:
        """Take the result of one check at ``now``, in monotonic seconds."""
        self._in_a_row = self._in_a_row + 1 if healthy == self._last else 1
        self._last = healthy
        if not healthy and self._in_a_row == self._policy.unhealthy_after:
            self.is_healthy, self._out_until = False, now + self._policy.eject_for
        elif healthy and self._in_a_row >= self._policy.healthy_after and now >= self._out_until:
            self.is_healthy = True
