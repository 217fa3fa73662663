"""Data of the store that go back in time while no connection breaks: what was purged does not come back."""

from collections.abc import Callable, Iterator
from functools import partial

import pytest
from redis import Redis

from metaproxy.store.entries import EVERYTHING, Found
from tests.redis_server import RedisServer
from tests.unit.store.replica import Replica, running

pytestmark = pytest.mark.redis

TAGS = ("image:1", EVERYTHING)
KEY = b"key"


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[Redis]:
    with redis_server.client() as client:
        yield client


def swapped(client: Redis) -> Callable[[], object]:
    """Put another database in the place of ours; return what puts ours back."""
    client.swapdb(0, 1)
    return partial(client.swapdb, 0, 1)


def restored(client: Redis) -> Callable[[], object]:
    """Take a copy of all keys; return what puts it in the place of the newer ones."""
    copy = {key: (client.pttl(key), client.dump(key)) for key in client.scan_iter()}

    def restore() -> None:
        client.flushdb()
        for key, (milliseconds, value) in copy.items():
            if value is not None and milliseconds > 0:
                client.restore(key, milliseconds, value)

    return restore


Kind = Callable[[Redis], Callable[[], object]]
KINDS = pytest.mark.parametrize("kind", [swapped, restored], ids=lambda kind: kind.__name__)


async def stored(replica: Replica) -> None:
    """Store an entry, after a purge, so that it is not the first time."""
    await replica.cache.purge(TAGS)
    await replica.entries.put(KEY, b"old", await replica.entries.get(KEY, TAGS), 60)
    assert (await replica.entries.get(KEY, TAGS)).content == b"old"


async def put_back(replica: Replica, client: Redis, kind: Kind) -> None:
    """Store an entry, purge it while other data are in the place of ours, and put ours back."""
    await stored(replica)
    back = kind(client)
    await replica.cache.purge(("image:1",))
    back()


async def reading(replica: Replica) -> Found | None:
    """What the replica reads; None if it cannot use the store now."""
    try:
        return await replica.entries.get(KEY, TAGS)
    except OSError:
        return None


async def content(replica: Replica) -> bytes | None:
    """The content that the replica reads."""
    return None if (found := await reading(replica)) is None else found.content


@KINDS
async def test_no_replica_reads_an_entry_that_was_purged(
    redis_server: RedisServer, client: Redis, kind: Kind
) -> None:
    here, there = Replica(redis_server.url), Replica(redis_server.url)
    async with running(here, there):
        await put_back(here, client, kind)

        assert await content(there) is None
        assert await content(here) is None


@KINDS
async def test_a_replica_that_starts_then_does_not_read_it(
    redis_server: RedisServer, client: Redis, kind: Kind
) -> None:
    async with running(here := Replica(redis_server.url)):
        await put_back(here, client, kind)

        async with running(new := Replica(redis_server.url)):
            assert await content(new) is None


@KINDS
async def test_a_purge_of_something_else_empties_what_is_behind(
    redis_server: RedisServer, client: Redis, kind: Kind
) -> None:
    async with running(here := Replica(redis_server.url)):
        await put_back(here, client, kind)

        await here.cache.purge(("image:2",))
        found = await reading(here)
        assert found is not None
        assert found.content is None


@KINDS
async def test_the_store_is_used_again_at_once(redis_server: RedisServer, client: Redis, kind: Kind) -> None:
    async with running(here := Replica(redis_server.url)):
        await put_back(here, client, kind)
        await reading(here)

        await stored(here)


async def test_purges_through_two_replicas_leave_other_entries(redis_server: RedisServer) -> None:
    here, there = Replica(redis_server.url), Replica(redis_server.url)
    async with running(here, there):
        await stored(here)
        for number in range(10):
            await (here, there)[number % 2].cache.purge((f"image:{number + 2}",))
            assert await content(here) == await content(there) == b"old"


@pytest.mark.parametrize("value", [b"", b"-1", b"nan", b"inf", b"9" * 400, b"\xff"])
async def test_a_count_that_is_no_count_does_not_end_the_second_level(
    redis_server: RedisServer, client: Redis, value: bytes
) -> None:
    async with running(here := Replica(redis_server.url)):
        await stored(here)
        client.set("metaproxy:times-forgotten", value)
        await reading(here)

        await stored(here)
