"""Deadlines of connections, held by one sweep.

Each connection knows the moments by which something must have happened, as plain numbers. A timer for
each would cost every request more than this sweep costs all of them.
"""

import asyncio
from collections.abc import Callable, Collection
from typing import Any

SWEEP_SECONDS = 0.25

BODY_BYTES_PER_SECOND = 512
"""A body must come at least so fast on average: one that drips holds a connection to the upstream as well."""


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
        now = loop.time()
        pressed = is_pressed(len(connections))
        for connection in list(connections):
            connection.expire(now, pressed=pressed)


def body_deadline(began: float, now: float, silence: float, body_bytes: int) -> float:
    """Return by when a body must go on of which ``body_bytes`` have come since ``began``, the last ``now``.

    ``silence`` is how long it may pause, and how far it may be behind. All in the loop's seconds.
    """
    return min(now, began + body_bytes / BODY_BYTES_PER_SECOND) + silence
