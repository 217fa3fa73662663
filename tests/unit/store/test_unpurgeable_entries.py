"""A Redis that refuses to delete: its entries are not read meanwhile, and not trusted afterwards."""

import asyncio
from collections.abc import Callable, Iterator

import pytest
from redis import Redis

from tests.redis_server import RedisServer
from tests.unit.store.replica import Replica, running
from tests.unit.store.waiting import until

pytestmark = pytest.mark.redis

KEY, TAGS = b"k", ("image:1", "everything")


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


def read_only(client: Redis) -> None:
    """The primary becomes a replica; the connections stay."""
    client.replicaof("127.0.0.1", "1")


def forbidden(client: Redis) -> None:
    """The user may not delete any more, and may read, write and publish."""
    client.execute_command("ACL", "SETUSER", "default", "-del")  # type: ignore[no-untyped-call] # it is not typed


def without_replicas(client: Redis) -> None:
    """The primary has fewer replicas than it needs to take a write."""
    client.config_set("min-replicas-to-write", "1")


def heal(client: Redis) -> None:
    """Make every fault end."""
    client.execute_command("ACL", "SETUSER", "default", "+del")  # type: ignore[no-untyped-call] # it is not typed
    client.replicaof("NO", "ONE")
    client.config_set("min-replicas-to-write", "0")


Fault = Callable[[Redis], None]
FAULTS = pytest.mark.parametrize(
    "fault", [read_only, forbidden, without_replicas], ids=lambda fault: fault.__name__
)


async def store_entry(replica: Replica) -> None:
    """Store an entry, as a replica does that has fetched an answer."""
    await replica.entries.put(KEY, b"content", await replica.entries.get(KEY, TAGS), 600)


async def stored(replica: Replica) -> bytes | None:
    """Return the entry as ``replica`` reads it."""
    return (await replica.entries.get(KEY, TAGS)).content


@FAULTS
async def test_an_entry_is_not_read_while_it_could_not_be_forgotten(redis: RedisServer, fault: Fault) -> None:
    with redis.client() as client:
        async with running(there := Replica(redis.url)):
            await store_entry(there)
            fault(client)

            with pytest.raises(OSError, match="shared entries"):
                await stored(there)
            heal(client)


@FAULTS
async def test_no_replica_trusts_its_memory_while_nothing_is_purged(redis: RedisServer, fault: Fault) -> None:
    with redis.client() as client:
        async with running(here := Replica(redis.url), there := Replica(redis.url)):
            fault(client)

            await until(lambda: not here.trusts_its_memory and not there.trusts_its_memory, 30)
            heal(client)
            await here.until_trusted()


@FAULTS
async def test_an_entry_that_missed_a_purge_does_not_count_when_the_store_is_back(
    redis: RedisServer, fault: Fault
) -> None:
    with redis.client() as client:
        async with running(here := Replica(redis.url), there := Replica(redis.url)):
            await store_entry(there)
            fault(client)
            assert not (await here.cache.purge(("image:1",))).is_told
            heal(client)

            await there.until_trusted()
            await until(lambda: there.store.available, 30)

            assert await stored(there) is None


async def test_a_replica_that_starts_at_a_read_only_store_trusts_nothing(redis: RedisServer) -> None:
    with redis.client() as client:
        async with running(here := Replica(redis.url)):
            read_only(client)
            late = Replica(redis.url)
            await late.store.start()
            await late.broadcast.start()
            await until(lambda: not here.trusts_its_memory, 30)

            assert not late.trusts_its_memory

            heal(client)
            await late.until_trusted()
            await late.cache.close()
            await late.broadcast.close()
            await late.store.close()


async def test_what_missed_a_purge_of_a_replica_that_is_gone_does_not_count(redis: RedisServer) -> None:
    with redis.client() as client:
        async with running(gone := Replica(redis.url)):
            await store_entry(gone)
            read_only(client)
            await gone.cache.purge(("image:1",))
        await until(lambda: not client.exists("metaproxy:entry:sign"), 30)
        heal(client)

        async with running(new := Replica(redis.url)):
            assert await stored(new) is None


async def test_a_replica_that_starts_beside_another_reads_what_is_stored(redis: RedisServer) -> None:
    with redis.client() as client:
        async with running(first := Replica(redis.url)):
            await store_entry(first)
            await until(lambda: bool(client.exists("metaproxy:entry:sign")), 30)

            async with running(second := Replica(redis.url)):
                assert await stored(second) == b"content"


async def test_a_purge_that_cannot_be_sent_says_so_and_is_made_up_for(redis: RedisServer) -> None:
    async with running(here := Replica(redis.url), there := Replica(redis.url)):
        redis.kill()

        purged = await asyncio.wait_for(here.cache.purge(("image:1",)), 30)

        assert not purged.is_told
        redis.start()
        await until(lambda: "image:1" in there.purges.tags_purged, 30)
