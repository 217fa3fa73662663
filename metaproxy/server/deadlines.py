"""Deadlines of connections, held by one sweep.

Each connection knows the moments by which something must have happened, as plain numbers. A timer for
each would cost every request more than this sweep costs all of them.
"""

import asyncio
from collections.abc import Iterable
from typing import Any

SWEEP_SECONDS = 0.25


async def sweep(connections: Iterable[Any], interval: float = SWEEP_SECONDS) -> None:
    """Let every connection whose deadline has passed expire; runs until it is cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(interval)
        now = loop.time()
        for connection in list(connections):
            connection.expire(now)
