"""What replicas store together, in a real Redis."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from metaproxy.store.redis.connection import SharedStore
from metaproxy.store.redis.entries import RedisEntries
from tests.filters.caching import Origin, Time, make_cache, request, turn
from tests.redis_server import RedisServer

pytestmark = [pytest.mark.e2e, pytest.mark.redis]

TAGS = ("image:1", "tenant:1")


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@asynccontextmanager
async def connected(redis: RedisServer) -> AsyncIterator[RedisEntries]:
    """Yield entries in an empty Redis."""
    with redis.client() as client:
        client.flushall()
    store = SharedStore(redis.url, timeout_seconds=5.0)
    try:
        yield RedisEntries(store)
    finally:
        await store.close()


async def test_what_was_put_is_got(redis: RedisServer) -> None:
    async with connected(redis) as entries:
        await entries.put(b"key", b"content", await entries.get(b"key", TAGS), seconds=60)

        assert (await entries.get(b"key", TAGS)).content == b"content"


async def test_what_was_never_put_is_not_got(redis: RedisServer) -> None:
    async with connected(redis) as entries:
        assert (await entries.get(b"key", TAGS)).content is None


@pytest.mark.parametrize("tag", TAGS)
async def test_forgetting_any_tag_forgets_the_entry(redis: RedisServer, tag: str) -> None:
    async with connected(redis) as entries:
        await entries.put(b"key", b"content", await entries.get(b"key", TAGS), seconds=60)

        await entries.forget((tag,))

        assert (await entries.get(b"key", TAGS)).content is None


async def test_what_was_fetched_before_a_tag_was_forgotten_never_counts(redis: RedisServer) -> None:
    async with connected(redis) as entries:
        found = await entries.get(b"key", TAGS)
        await entries.forget(("image:1",))

        await entries.put(b"key", b"older", found, seconds=60)

        assert (await entries.get(b"key", TAGS)).content is None


async def test_a_generation_that_redis_has_lost_revives_nothing(redis: RedisServer) -> None:
    async with connected(redis) as entries:
        await entries.put(b"key", b"content", await entries.get(b"key", TAGS), seconds=60)
        with redis.client() as client:
            client.delete("metaproxy:generation:image:1")

        contents = [(await entries.get(b"key", TAGS)).content for _ in range(2)]

        assert contents == [None, None]


async def test_entries_end_by_themselves(redis: RedisServer) -> None:
    async with connected(redis) as entries:
        await entries.put(b"key", b"content", await entries.get(b"key", TAGS), seconds=60)

        with redis.client() as client:
            assert 0 < int(client.pttl("metaproxy:entry:key")) <= 60_000


async def test_a_redis_that_is_away_is_an_os_error() -> None:
    with RedisServer() as away:
        pass
    store = SharedStore(away.url, timeout_seconds=0.2)

    with pytest.raises(OSError, match="reached"):
        await RedisEntries(store).get(b"key", TAGS)
    await store.close()


async def until_stored(redis: RedisServer) -> None:
    """Wait until an entry is there: it is put after the answer was sent."""
    with redis.client() as client:
        while not client.keys("metaproxy:entry:*"):
            await asyncio.sleep(0)


async def test_one_replica_fetches_for_all(redis: RedisServer) -> None:
    origin, time = Origin(), Time()
    async with connected(redis) as entries:
        first, second = (make_cache(origin, time, entries=entries) for _ in range(2))
        await request(first)
        await until_stored(redis)
        time.seconds += 10

        answers = [await request(second) for _ in range(2)]

    assert [answer.header("cache-status") for answer in answers] == [
        "metaproxy; hit; ttl=50; detail=second-level",
        "metaproxy; hit; ttl=50",
    ]
    assert answers[0].header("age") == "10"
    assert len(origin.requests) == 1


async def test_a_write_through_one_replica_is_forgotten_in_the_second_level(redis: RedisServer) -> None:
    origin, time = Origin(), Time()
    async with connected(redis) as entries:
        first, second = (make_cache(origin, time, entries=entries) for _ in range(2))
        await request(first)
        await until_stored(redis)

        await request(first, method="PUT")

        assert (await request(second)).exchange.outcome == "forwarded"


async def test_purging_all_empties_the_second_level(redis: RedisServer) -> None:
    origin, time = Origin(), Time()
    async with connected(redis) as entries:
        first, second = (make_cache(origin, time, entries=entries) for _ in range(2))
        await request(first)
        await until_stored(redis)

        await first.inventory.purge_all()

        assert (await request(second)).exchange.outcome == "forwarded"


async def test_without_redis_the_second_level_is_as_if_empty() -> None:
    with RedisServer() as away:
        pass
    store = SharedStore(away.url, timeout_seconds=0.2)
    cache = make_cache(Origin(), Time(), entries=RedisEntries(store))

    await request(cache)
    await turn()

    assert (await request(cache)).exchange.outcome == "hit"
    await store.close()
