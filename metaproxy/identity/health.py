"""The state of the identity service, for readiness, metrics and the log.

======================= ============== =============== ==========================================
state                   ``is_let_in``  ``available``   left by
======================= ============== =============== ==========================================
no answer yet           False          True            a success, or a failure
never let in, failing   False          False           a success
well                    True           True            a failure
outage                  True           False           a success
======================= ============== =============== ==========================================

``is_let_in`` never becomes False again: an outage of a shared service is the same for all replicas, so
taking this one out of the load balancer helps nobody.
"""

import logging
from dataclasses import dataclass, field

import structlog

from metaproxy.clock import Clock, monotonic
from metaproxy.identity.troubles import IdentityUnavailable, Trouble

REPEAT_SECONDS = 60.0
"""A trouble that goes on, or returns, is logged again after so many seconds, and not earlier."""

MISTAKES = frozenset({Trouble.LOGIN_REFUSED, Trouble.FORBIDDEN})
"""Troubles that do not pass by themselves: the configuration, or the account in identity, is wrong."""

logger = structlog.get_logger(__name__)


@dataclass(slots=True)
class IdentityHealth:
    """The results of the calls to identity. Instants are monotonic seconds.

    ``available`` is True until a call has failed. ``trouble`` and ``cause`` are the name and the words of
    the last failure, empty while identity answers. ``is_let_in`` becomes True when identity has once
    accepted the login, or has given a verdict, and stays True.
    """

    monotonic: Clock = monotonic
    available: bool = True
    is_let_in: bool = False
    trouble: str = ""
    cause: str = ""
    failing_since: float | None = None
    """The first failure of the present outage; None while identity answers."""
    _logged_at: dict[Trouble, float] = field(default_factory=dict)
    _is_outage_logged: bool = False

    def answered(self) -> None:
        """Record that identity gave a verdict, valid or rejected."""
        if self.available and self.is_let_in:
            return
        if self._is_outage_logged:
            logger.info("identity answers again", outage_seconds=round(self.unavailable_for(), 3))
        self.available, self.is_let_in = True, True
        self.trouble = self.cause = ""
        self.failing_since, self._is_outage_logged = None, False

    def accepted(self) -> None:
        """Record that identity accepted the login. An outage goes on until it gives a verdict."""
        self.is_let_in = True

    def failed(self, error: IdentityUnavailable) -> None:
        """Record that identity gave no verdict. Retries do not move the start of the outage."""
        now = self.monotonic()
        if self.failing_since is None:
            self.failing_since = now
        self.available, self.trouble, self.cause = False, error.trouble.value, error.detail
        self._log(error, now)

    def unavailable_for(self) -> float:
        """Return the seconds since the first failure of the present outage; 0 while identity answers."""
        return 0.0 if self.failing_since is None else self.monotonic() - self.failing_since

    def _log(self, error: IdentityUnavailable, now: float) -> None:
        # At most one line per trouble and minute, however often identity fails or alternates.
        if now - self._logged_at.get(error.trouble, float("-inf")) < REPEAT_SECONDS:
            return
        self._logged_at[error.trouble] = now
        self._is_outage_logged = True
        logger.log(
            logging.ERROR if error.trouble in MISTAKES else logging.WARNING,
            "identity gives no verdict",
            trouble=error.trouble.value,
            cause=error.detail,
            outage_seconds=round(self.unavailable_for(), 3),
            let_in=self.is_let_in,
        )
