"""The time until which verdicts in memory count without another sign that revocations arrive."""

import asyncio
import math

from metaproxy.clock import Clock, monotonic


class Validity:
    """Ends at ``until``, by the clock at each use.

    A timer would not do: none runs while the process stands still, and requests that have come meanwhile may
    be read before a timer that is overdue. ``until`` is infinite if no sign is to be expected.
    """

    __slots__ = ("_changed", "_monotonic", "until")

    def __init__(self, monotonic: Clock = monotonic) -> None:
        self.until = math.inf
        self._monotonic = monotonic
        self._changed = asyncio.Event()

    def renew(self, until: float = math.inf) -> None:
        """End at ``until``, and wake those who wait."""
        self.until = until
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def in_force(self) -> None:
        """Wait until it has not ended."""
        while self._monotonic() >= self.until:
            await self._changed.wait()
