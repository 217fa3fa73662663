"""The broadcast through a real Redis."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress

import pytest
from structlog.testing import capture_logs

from metaproxy.store.redis.broadcast import RedisBroadcast
from metaproxy.store.redis.connection import SharedStore
from tests.redis_server import RedisServer

pytestmark = [pytest.mark.e2e, pytest.mark.redis]


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


class Listener:
    """Keeps what it hears, and lets a test wait for it."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[bytes] = asyncio.Queue()
        self.lost = asyncio.Event()


@asynccontextmanager
async def listening(redis: RedisServer, listener: Listener, *channels: str) -> AsyncIterator[RedisBroadcast]:
    store = SharedStore(redis.url, timeout_seconds=2.0)
    broadcast = RedisBroadcast(store)
    for channel in channels:
        broadcast.subscribe(channel, listener.heard.put_nowait, listener.lost.set)
    await broadcast.start()
    try:
        yield broadcast
    finally:
        await broadcast.close()
        await store.close()


async def hear(listener: Listener, broadcast: RedisBroadcast, channel: str, payload: bytes) -> bytes:
    """Publish until something is heard: a subscription takes effect some time after it was asked for."""
    while True:
        with suppress(ConnectionError):
            await broadcast.publish(channel, payload)
        with suppress(TimeoutError):
            return await asyncio.wait_for(listener.heard.get(), 0.05)


async def test_a_message_reaches_another_process_on_the_same_redis(redis: RedisServer) -> None:
    here, there = Listener(), Listener()
    async with listening(redis, here, "purges") as sender, listening(redis, there, "purges"):
        assert await hear(there, sender, "purges", b"one") == b"one"


async def test_messages_come_in_the_order_in_which_they_were_published(redis: RedisServer) -> None:
    listener = Listener()
    async with listening(redis, listener, "purges") as broadcast:
        await hear(listener, broadcast, "purges", b"ready")

        for number in range(20):
            await broadcast.publish("purges", b"%d" % number)

        heard = [await listener.heard.get() for _ in range(20)]
        assert [number for number in heard if number != b"ready"] == [b"%d" % number for number in range(20)]


async def test_a_subscription_made_while_listening_takes_effect(redis: RedisServer) -> None:
    listener, late = Listener(), Listener()
    async with listening(redis, listener, "purges") as broadcast:
        await hear(listener, broadcast, "purges", b"ready")

        broadcast.subscribe("revocations", late.heard.put_nowait, late.lost.set)

        assert await hear(late, broadcast, "revocations", b"one") == b"one"


async def test_who_has_unsubscribed_is_no_longer_counted_as_reached(redis: RedisServer) -> None:
    listener, other = Listener(), Listener()
    async with listening(redis, listener, "purges") as broadcast:
        unsubscribe = broadcast.subscribe("revocations", other.heard.put_nowait, other.lost.set)
        await hear(other, broadcast, "revocations", b"one")

        unsubscribe()

        while await broadcast.publish("revocations", b"two"):
            await asyncio.sleep(0)
        assert await broadcast.publish("purges", b"three") == 1


async def test_a_lost_connection_is_told_and_made_again(redis: RedisServer) -> None:
    listener = Listener()
    async with listening(redis, listener, "purges") as broadcast:
        await hear(listener, broadcast, "purges", b"before")

        redis.kill()
        await asyncio.wait_for(listener.lost.wait(), 10)
        redis.start()

        assert await hear(listener, broadcast, "purges", b"after") == b"after"


async def test_an_outage_is_logged_once_with_its_cause_and_its_end_once(redis: RedisServer) -> None:
    listener = Listener()
    with capture_logs() as logs:
        async with listening(redis, listener, "purges") as broadcast:
            await hear(listener, broadcast, "purges", b"before")
            redis.kill()
            await asyncio.sleep(1)  # for several attempts to connect
            redis.start()
            await hear(listener, broadcast, "purges", b"after")
            # A message may arrive before the reply to the heartbeat that restores the broadcast.
            while logs[-1]["event"] != "broadcast restored":
                await asyncio.sleep(0.01)

    events = [event for event in logs if event["event"].startswith("broadcast ")]
    assert [event["event"] for event in events] == ["broadcast lost", "broadcast restored"]
    assert events[0]["reason"] in ("connection", "refused")


async def test_publishing_without_a_redis_raises_an_os_error(redis: RedisServer) -> None:
    async with listening(redis, Listener(), "purges") as broadcast:
        redis.kill()

        with pytest.raises(OSError, match="not sent"):
            await broadcast.publish("purges", b"one")


async def test_however_long_redis_is_away_its_loss_is_logged_once(redis: RedisServer) -> None:
    listener = Listener()
    with capture_logs() as logged:
        async with listening(redis, listener, "purges") as broadcast:
            await hear(listener, broadcast, "purges", b"before")

            redis.kill()
            for _ in range(3):
                await asyncio.wait_for(listener.lost.wait(), 10)
                listener.lost.clear()

    assert [line["event"] for line in logged].count("broadcast lost") == 1
