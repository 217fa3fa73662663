"""Revocations that Keystone tells when it is asked (OS-REVOKE), so that they need not wait for the cache.

Facts this file rests on (Identity API v3, "OS-REVOKE"). An event names attributes; it speaks of every
token that has them all and was issued before it. Events that name a user, project or domain only make
us ask again, which cannot be wrong; those that name nothing we hold make us ask about every token. If
replicas share tokens, the first question goes back as far as the oldest of them, and none is used before
its answer.
"""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import msgspec
import structlog

from metaproxy.clock import Clock, wall
from metaproxy.identity.cached import CachedValidator
from metaproxy.identity.keystone_v3 import KeystoneV3
from metaproxy.identity.keystone_v3_token import RevocationEvent
from metaproxy.identity.revocation import Revocation, RevocationError
from metaproxy.identity.troubles import IdentityUnavailable
from metaproxy.tasks import TaskSet

START_SECONDS = 2.0
"""The longest time for which ``start`` waits for the first answer, if shared tokens wait for it."""

OVERLAP = 120.0
"""Seconds by which questions overlap: clocks differ, and Keystone writes events in whole seconds."""

logger = structlog.get_logger(__name__)


class RevocationEventPolling:
    """Asks Keystone again and again what it revoked.

    Args:
        interval: seconds between two questions.
        wall: the clock that questions are dated by.
    """

    def __init__(
        self, keystone: KeystoneV3, validator: CachedValidator, *, interval: float = 30.0, wall: Clock = wall
    ) -> None:
        self._keystone = keystone
        self._validator = validator
        self._interval = interval
        self._wall = wall
        self._tasks = TaskSet()
        shared = validator.shared
        self._asked_at = wall() - (shared.ttl if shared is not None else 0.0)
        self._has_asked = asyncio.Event()
        self._seen: frozenset[RevocationEvent] = frozenset()

    async def start(self) -> None:
        """Begin to ask."""
        if not len(self._tasks):
            self._tasks.start(self._poll_for_ever(), name="poll revocation events")
            if self._validator.shared is not None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(START_SECONDS):
                        await self._has_asked.wait()

    async def close(self) -> None:
        """Ask no more."""
        await self._tasks.cancel()

    async def poll(self) -> bool:
        """Ask once and forget what was revoked; False where Keystone does not offer to tell.

        Raises IdentityUnavailable.
        """
        now = self._wall()
        since = datetime.fromtimestamp(self._asked_at, UTC) - timedelta(seconds=OVERLAP)
        events = await self._keystone.revocation_events(since)
        if events is None:
            self._know()
            return False
        for event in events:
            if event not in self._seen:
                self._apply(event)
        self._asked_at, self._seen = now, frozenset(events)
        self._know()
        return True

    def _know(self) -> None:
        self._has_asked.set()
        if self._validator.shared is not None:
            self._validator.shared.know_events()

    def _apply(self, event: RevocationEvent) -> None:
        named = msgspec.structs.asdict(event)
        del named["issued_before"]
        try:
            revocation = Revocation(**{name: value or "" for name, value in named.items()})
        except RevocationError:
            self._validator.doubt()
        else:
            self._validator.revoked_by_identity(revocation)

    async def _poll_for_ever(self) -> None:
        while True:
            try:
                if not await self.poll():
                    logger.info("identity offers no revocation events: tokens are held until their ttl ends")
                    return
            except IdentityUnavailable as error:
                # Missed events are asked for next time, because the date of the question stays.
                logger.debug("no revocation events", trouble=error.trouble.value)
            await asyncio.sleep(self._interval)
