"""Whether the shared store can be asked at all.

The first failure closes the way for everybody; from then on only a background task asks, until it gets
an answer. A store that answers, but fails again as soon as it is used (out of memory, read-only), is
tried less and less often.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from metaproxy.clock import Clock
from metaproxy.store.causes import cause_of
from metaproxy.tasks import TaskSet

Listener = Callable[[], None]

FIRST_PROBE_SECONDS = 0.05
LONGEST_PROBE_SECONDS = 1.0

logger = structlog.get_logger(__name__)


class Availability:
    """Knows whether the store is there, and finds out when it is back.

    Args:
        answers: asks the store whether it is there; bounded in time, never raises.
        monotonic: the clock that tells a new failure from the old one.
    """

    def __init__(self, answers: Callable[[], Awaitable[bool]], *, monotonic: Clock) -> None:
        self.available = True
        """False from the first failure until the store has answered again."""
        self._answers = answers
        self._monotonic = monotonic
        self._restored_at = float("-inf")
        self._probe_seconds = FIRST_PROBE_SECONDS
        self._tasks = TaskSet()
        self._lost: list[Listener] = []
        self._restored: list[Listener] = []

    def on_lost(self, listener: Listener) -> None:
        """Call ``listener`` each time the store has become unavailable."""
        self._lost.append(listener)

    def on_restored(self, listener: Listener) -> None:
        """Call ``listener`` each time the store answers again after it was lost."""
        self._restored.append(listener)

    def lose(self, error: Exception) -> None:
        """Take note that the store failed with ``error``."""
        if not self.available:
            return
        self.available = False
        reason, detail = cause_of(error)
        logger.warning("shared store lost", error=type(error).__name__, reason=reason, detail=detail)
        steady = self._monotonic() - self._restored_at > LONGEST_PROBE_SECONDS
        self._probe_seconds = FIRST_PROBE_SECONDS if steady else self._longer()
        self._tasks.start(self._probe(), name="store-probe")
        for listener in self._lost:
            listener()

    async def close(self) -> None:
        """Ask no more; from now on the store is away."""
        self.available = False
        await self._tasks.cancel()

    async def _probe(self) -> None:
        await asyncio.sleep(self._probe_seconds)
        while not await self._answers():
            self._probe_seconds = self._longer()
            await asyncio.sleep(self._probe_seconds)
        self.available = True
        self._restored_at = self._monotonic()
        logger.info("shared store restored")
        for listener in self._restored:
            listener()

    def _longer(self) -> float:
        return min(self._probe_seconds * 2, LONGEST_PROBE_SECONDS)
