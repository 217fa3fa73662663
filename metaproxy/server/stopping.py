"""SIGTERM and Ctrl-C: the first asks for the end, another one forces it.

    signals so far   what happens
    1                requests that run may finish, for server.shutdown_grace
    2                they are broken off
    3                the process ends where it stands

Some programs send their signal to a process and to its group, so that it comes twice at once (timeout(1), a
terminal together with its shell). A signal that follows another within a moment is the same one.
"""

import asyncio
import os
from collections.abc import Callable

from metaproxy.clock import Clock, monotonic

SAME_SECONDS = 0.25
"""How soon after another a signal is taken for the same."""
EXIT_FORCED = 1


class Presses:
    """Counts the signals that ask for the end."""

    def __init__(self, clock: Clock = monotonic) -> None:
        self._clock = clock
        self._last = float("-inf")
        self._count = 0

    def count(self) -> int:
        """Count one more; return how many there are, 0 if it is the last one again."""
        now = self._clock()
        if now - self._last < SAME_SECONDS:
            return 0
        self._last = now
        self._count += 1
        return self._count


class Stopping:
    """The answer to SIGTERM and SIGINT of a process that serves alone."""

    def __init__(self, break_off: Callable[[], None]) -> None:
        self.asked = asyncio.Event()
        self._break_off = break_off
        self._presses = Presses()

    def signalled(self) -> None:
        """Handle one signal."""
        match self._presses.count():
            case 0:
                return
            case 1:
                self.asked.set()
            case 2:
                self._break_off()
            case _:
                os._exit(EXIT_FORCED)
