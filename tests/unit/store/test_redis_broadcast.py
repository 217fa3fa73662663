"""The broadcast over Redis, without a Redis."""

import asyncio

from structlog.testing import capture_logs

from metaproxy.store.redis.broadcast import RedisBroadcast
from metaproxy.store.redis.connection import SharedStore


async def test_a_broadcast_that_is_lost_again_and_again_is_logged_once_with_its_cause() -> None:
    store = SharedStore("unix:///nowhere/redis.sock")
    broadcast = RedisBroadcast(store)
    losses: asyncio.Queue[None] = asyncio.Queue()
    broadcast.subscribe("purges", lambda _: None, lambda: losses.put_nowait(None))

    with capture_logs() as logs:
        await broadcast.start()
        for _ in range(3):
            await losses.get()
        await broadcast.close()
        await store.close()

    (event,) = [entry for entry in logs if entry["event"] == "broadcast lost"]
    assert (event["reason"], event["log_level"]) == ("refused", "warning")
    assert "/nowhere/redis.sock" in event["detail"]
