"""Whether identity answers, as readiness probes and the metrics are told."""

from dataclasses import dataclass

import structlog

from metaproxy.clock import Clock, monotonic
from metaproxy.identity.troubles import IdentityUnavailable

logger = structlog.get_logger(__name__)


@dataclass(slots=True)
class IdentityHealth:
    """How the last call to identity ended. Instants are monotonic seconds.

    ``available`` stays true until a first call has failed. ``trouble`` names the last
    failure. A change is logged once, not every call.
    """

    monotonic: Clock = monotonic
    available: bool = True
    last_success: float | None = None
    last_failure: float | None = None
    trouble: str = ""

    def answered(self) -> None:
        """Note that identity gave a verdict, whichever."""
        if not self.available:
            logger.info("identity answers again")
        self.available, self.trouble = True, ""
        self.last_success = self.monotonic()

    def failed(self, error: IdentityUnavailable) -> None:
        """Note that identity gave none."""
        if self.trouble != error.trouble.value:
            logger.warning("identity gives no verdict", trouble=error.trouble.value, detail=str(error))
        self.available, self.trouble = False, error.trouble.value
        self.last_failure = self.monotonic()

    def unavailable_for(self) -> float:
        """Return the seconds since identity last answered while it fails; 0 while it answers."""
        if self.available or self.last_failure is None:
            return 0.0
        since = self.last_failure if self.last_success is None else self.last_success
        return self.monotonic() - since
