"""Availability: whether the shared store, or one use of it, can be asked at all.

    available --(a failure)--> away --(what failed works again)--> available

The first failure closes the way for every request; from then on only a background task asks, until what
failed works again. A store that fails again as soon as it is used is tried less and less often.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from metaproxy.clock import Clock
from metaproxy.store.causes import cause_of
from metaproxy.tasks import TaskSet

Listener = Callable[[], None]
Works = Callable[[], Awaitable[bool]]
"""Tries what failed once more: bounded in time, never raises."""

FIRST_PROBE_SECONDS = 0.05
LONGEST_PROBE_SECONDS = 1.0

logger = structlog.get_logger(__name__)


class Availability:
    """Knows whether something is there, and finds out when it is back.

    Args:
        use: the name of what is lost and restored, for the log.
        monotonic: the clock that tells a new failure from the old one.
    """

    def __init__(self, use: str, *, monotonic: Clock) -> None:
        self.available = True
        """False from the first failure until what failed works again."""
        self.trouble = ""
        """The words of the last failure."""
        self._use = use
        self._monotonic = monotonic
        self._reasons: set[str] = set()
        self._restored_at = float("-inf")
        self._probe_seconds = FIRST_PROBE_SECONDS
        self._tasks = TaskSet()
        self._lost: list[Listener] = []
        self._restored: list[Listener] = []

    def on_lost(self, listener: Listener) -> None:
        """Call ``listener`` each time it has become unavailable."""
        self._lost.append(listener)

    def on_restored(self, listener: Listener) -> None:
        """Call ``listener`` each time it is available again after it was lost."""
        self._restored.append(listener)

    def lose(self, error: Exception, works: Works) -> None:
        """Take note of a failure with ``error``; it is restored when ``works`` returns true."""
        if not self.available:
            return
        self.available = False
        self._reasons.clear()
        self.note(error)
        steady = self._monotonic() - self._restored_at > LONGEST_PROBE_SECONDS
        self._probe_seconds = FIRST_PROBE_SECONDS if steady else self._longer()
        self._tasks.start(self._probe(works), name="store-probe")
        for listener in self._lost:
            listener()

    def note(self, error: BaseException) -> None:
        """Take note of the newest failure: ``trouble`` has its words, and the log each reason once a loss."""
        reason, detail = cause_of(error)
        self.trouble = f"{reason}: {detail}" if detail else reason
        if reason not in self._reasons:
            self._reasons.add(reason)
            logger.warning(
                "shared store lost", use=self._use, error=type(error).__name__, reason=reason, detail=detail
            )

    async def close(self) -> None:
        """Try no more; from now on it is away."""
        self.available = False
        await self._tasks.cancel()

    async def _probe(self, works: Works) -> None:
        await asyncio.sleep(self._probe_seconds)
        while not await works():
            self._probe_seconds = self._longer()
            await asyncio.sleep(self._probe_seconds)
        self.available = True
        self._restored_at = self._monotonic()
        logger.info("shared store restored", use=self._use)
        for listener in self._restored:
            listener()

    def _longer(self) -> float:
        return min(self._probe_seconds * 2, LONGEST_PROBE_SECONDS)
