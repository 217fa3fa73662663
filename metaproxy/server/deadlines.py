"""Deadlines of connections, held by one sweep.

Each connection knows the moments by which something must have happened, as plain numbers. A timer for
each would cost every request more than this sweep costs all of them.
"""

import asyncio
from collections.abc import Callable, Collection
from typing import Any

from metaproxy.server.edge import EdgeLimits

SWEEP_SECONDS = 0.25

LEAVE_SECONDS = 1.0
"""How long an idle connection is kept when the server leaves: a request may be on its way."""
PRESSED_IDLE_SECONDS = 5.0

BODY_BYTES_PER_SECOND = 512
"""A body must come at least so fast on average: one that drips holds a connection to the upstream as well."""


class Deadlines:
    """The moments by which one client must have acted, in the loop's seconds; 0 for never.

    Args:
        now: the moment at which the client connected.
    """

    def __init__(self, limits: EdgeLimits, now: float) -> None:
        self.read_by = now + limits.header_seconds
        """When octets of the client are too late."""
        self.write_by = 0.0
        """When the client has not read for too long."""
        self._limits = limits
        self._idle_seconds = limits.header_seconds
        self._body_began = 0.0

    def wait_for_request(self, now: float) -> None:
        """Everything is answered: the connection is idle."""
        self.read_by = now + self._limits.idle_seconds
        self._idle_seconds = self._limits.idle_seconds

    def head_began(self, now: float) -> None:
        """A part of a head has come."""
        self.read_by = now + self._limits.header_seconds

    def head_ended(self) -> None:
        """A head is complete."""
        self._body_began = 0.0

    def body_read(self, now: float, body_bytes: int) -> None:
        """``body_bytes`` of a body have come."""
        self._body_began = self._body_began or now
        self.read_by = body_deadline(self._body_began, now, self._limits.body_seconds, body_bytes)

    def request_read(self) -> None:
        """A request is complete: the next octets may come whenever the client likes."""
        self.read_by = 0.0

    def leave(self, now: float) -> None:
        """The server leaves, and the connection is idle."""
        self.read_by = now + LEAVE_SECONDS

    def write_paused(self, now: float) -> None:
        """The client reads more slowly than we write, or has yet to take the last octets."""
        self.write_by = self.write_by or now + self._limits.body_seconds

    def write_resumed(self) -> None:
        """The client has caught up."""
        self.write_by = 0.0

    def read_has_passed(self, now: float, *, idle: bool, leaving: bool, pressed: bool) -> bool:
        """Return whether octets are too late at ``now``.

        An ``idle`` connection has less time if the server is ``leaving``, or ``pressed`` for room.
        """
        if idle and leaving:
            self.read_by = min(self.read_by, now + LEAVE_SECONDS)
        elif idle and pressed:
            now += max(0.0, self._idle_seconds - PRESSED_IDLE_SECONDS)
        return 0.0 < self.read_by < now


async def sweep(
    connections: Collection[Any],
    interval: float = SWEEP_SECONDS,
    *,
    is_pressed: Callable[[int], bool] = lambda _connections: False,
) -> None:
    """Let every connection whose deadline has passed expire; runs until it is cancelled.

    ``is_pressed`` says of a number of connections whether idle ones should end early.
    """
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(interval)
        now, pressed = loop.time(), is_pressed(len(connections))
        for connection in list(connections):
            connection.expire(now, pressed=pressed)


def body_deadline(began: float, now: float, silence: float, body_bytes: int) -> float:
    """Return by when a body must go on of which ``body_bytes`` have come since ``began``, the last ``now``.

    ``silence`` is how long it may pause, and how far it may be behind. All in the loop's seconds.
    """
    return min(now, began + body_bytes / BODY_BYTES_PER_SECOND) + silence
