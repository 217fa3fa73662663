"""A replica that starts later, at a real Redis: nothing that was revoked before gets through."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from metaproxy.exchange import Identity
from metaproxy.identity.validator import Rejected
from metaproxy.store.redis.broadcast import RedisBroadcast
from metaproxy.store.redis.connection import SharedStore
from tests.forwarder import Forwarder
from tests.redis_server import RedisServer
from tests.unit.store.replica import TOKENS, Replica, running

pytestmark = pytest.mark.redis

REVOKED = TOKENS[7]


@asynccontextmanager
async def started(replica: Replica) -> AsyncIterator[None]:
    """Start ``replica``; the block begins when the process would take its first request."""
    await replica.store.start()
    await replica.broadcast.start()
    await replica.revocations.start()
    try:
        yield
    finally:
        await replica.cache.close()
        await replica.revocations.close()
        await replica.broadcast.close()
        await replica.store.close()
        await replica.validator.close()


@pytest.mark.parametrize("delay", [0.0, 0.01])
async def test_its_first_request_is_refused_with_a_token_that_was_revoked_before(
    redis_server: RedisServer, delay: float
) -> None:
    first = Replica(redis_server.url)
    async with running(first):
        await first.revoke(REVOKED)

    async with Forwarder(redis_server.port, delay_seconds=delay) as link:
        later = Replica(link.url)
        async with started(later):
            assert isinstance(await later.validator.resolve(REVOKED), Rejected)
            assert isinstance(await later.validator.resolve(TOKENS[1]), Identity)


async def test_it_starts_without_a_store_and_reads_the_record_when_the_store_is_back(
    redis_server: RedisServer,
) -> None:
    async with AsyncExitStack() as stack:
        link = await stack.enter_async_context(Forwarder(redis_server.port))
        first, later = Replica(redis_server.url), Replica(link.url)
        async with running(first):
            await first.revoke(REVOKED)
        port, link.port = link.port, 9
        await stack.enter_async_context(started(later))
        before = await later.validator.resolve(REVOKED)
        link.port = port

        async with asyncio.timeout(60):
            while isinstance(await later.validator.resolve(REVOKED), Identity):
                await asyncio.sleep(0.01)

        assert isinstance(before, Identity)


async def test_a_subscription_does_not_wait_for_the_next_heartbeat(redis_server: RedisServer) -> None:
    store = SharedStore(redis_server.url, timeout_seconds=5)
    broadcast = RedisBroadcast(store, lease_seconds=1_000)  # a heartbeat in 250 s
    first, second = asyncio.Event(), asyncio.Event()
    broadcast.subscribe("one", lambda _: None, lambda: None, lambda _: first.set())
    await store.start()
    await broadcast.start()
    async with asyncio.timeout(60):
        await first.wait()

        broadcast.subscribe("two", lambda _: None, lambda: None, lambda _: second.set())

        await second.wait()
    await broadcast.close()
    await store.close()
