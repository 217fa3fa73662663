"""Noticing that nothing has moved for too long, without a timer for every wait."""

import asyncio
from collections.abc import Callable


class StallTimer:
    """Calls ``on_stall`` when a wait has lasted its limit without progress.

    Beginning, progress and end of a wait each cost an attribute; the one timer of the loop looks at
    them when it goes off, and is set again only while something is still awaited.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, on_stall: Callable[[], None]) -> None:
        self._loop = loop
        self._on_stall = on_stall
        self._since: float | None = None
        self._limit = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._goes_off = 0.0

    def begin(self, limit: float) -> None:
        """Start a wait of at most ``limit`` seconds without progress."""
        self._since = now = self._loop.time()
        self._limit = limit
        if self._timer is None or self._goes_off > now + limit:
            self._set(now + limit)

    def progress(self) -> None:
        """Something moved: the wait, if there is one, starts anew."""
        if self._since is not None:
            self._since = self._loop.time()

    def end(self) -> None:
        """End the wait, because what was awaited is there."""
        self._since = None

    def cancel(self) -> None:
        """End for good."""
        self._since = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._goes_off = when
        self._timer = self._loop.call_at(when, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._since is None:
            return
        if self._loop.time() >= self._since + self._limit:
            self._since = None
            self._on_stall()
        else:
            self._set(self._since + self._limit)
