"""Two replicas and a real Redis with every kind of fault between them.

Whatever happens, a revocation and a purge reach every replica, or the replica trusts nothing until it has
asked again; and identity is asked at most once more about each token.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from metaproxy.identity.revocation import Revocation
from metaproxy.identity.revocations import NotRecorded
from metaproxy.identity.validator import Rejected
from metaproxy.store.redis.broadcast import RedisBroadcast
from metaproxy.store.redis.connection import SharedStore
from tests.forwarder import Forwarder
from tests.redis_server import RedisServer
from tests.unit.store.replica import LEASE_SECONDS, TOKENS, Replica, running
from tests.unit.store.waiting import until

pytestmark = pytest.mark.redis

REVOKED = TOKENS[7]
ROOT = Path(__file__).resolve().parents[3]


class World:
    """Two servers, of which the second stands by; two replicas, each behind a forwarder of its own."""

    def __init__(self, redis: RedisServer, spare: RedisServer, here: Forwarder, there: Forwarder) -> None:
        self.redis, self.spare = redis, spare
        self.forwarders = here, there
        self.here, self.there = Replica(here.url), Replica(there.url)

    def set(self, name: str, value: str) -> None:
        """Configure the server."""
        with self.redis.client() as client:
            client.config_set(name, value)


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def spare() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
async def world(redis: RedisServer, spare: RedisServer) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        forwarders = [await stack.enter_async_context(Forwarder(redis.port)) for _ in range(2)]
        yield World(redis, spare, *forwarders)


async def half_open(world: World) -> None:
    """The second replica's connection that listens dies, and nobody says so."""
    world.forwarders[1].swallow_subscribers()


async def late(world: World) -> None:
    """Every round trip takes 20 ms longer."""
    for forwarder in world.forwarders:
        forwarder.delay_seconds = 0.01


async def failover(world: World) -> None:
    """Another server becomes the primary; the old one keeps its connections and refuses writes."""
    with world.spare.client() as spare, world.redis.client() as old:
        spare.replicaof("127.0.0.1", str(world.redis.port))
        while spare.info("replication")["master_link_status"] != "up":
            await asyncio.sleep(0.01)
        spare.replicaof("NO", "ONE")
        old.replicaof("127.0.0.1", str(world.spare.port))
    for forwarder in world.forwarders:
        forwarder.port = world.spare.port


async def no_memory(world: World) -> None:
    """Redis takes no write that needs memory."""
    world.set("maxmemory", "1")


async def no_scripts(world: World) -> None:
    """The user may not run scripts any more."""
    with world.redis.client() as client:
        client.execute_command("ACL", "SETUSER", "default", "-eval", "-evalsha")


async def unreadable_values(world: World) -> None:
    """Every value in Redis becomes nonsense of another type."""
    with world.redis.client() as client:
        for key in client.keys("*"):
            client.delete(key)
            client.hset(key, "x", "y")


async def restart(world: World) -> None:
    """Redis ends and begins anew, with nothing in it."""
    world.redis.kill()
    world.redis.start()


async def frozen(world: World) -> None:
    """Redis stands still for longer than a lease."""
    world.redis.freeze()
    await until(lambda: not world.there.trusts_its_memory)
    world.redis.thaw()


FAULTS = pytest.mark.parametrize(
    "fault",
    [half_open, late, failover, no_memory, no_scripts, unreadable_values, restart, frozen],
    ids=lambda fault: fault.__name__,
)
Fault = Callable[[World], Awaitable[None]]


@FAULTS
async def test_a_revocation_reaches_the_other_replica(world: World, fault: Fault) -> None:
    async with running(world.here, world.there):
        await fault(world)
        await world.here.revoke(REVOKED)

        async with asyncio.timeout(60):
            while not await world.there.knows_revoked(REVOKED):
                await asyncio.sleep(0.01)
        assert isinstance(await world.here.validator.resolve(REVOKED), Rejected)
        await world.there.until_trusted()
        await world.there.ask_for_all()
        assert world.there.asked <= 2 * len(TOKENS) + 1


@FAULTS
async def test_a_purge_reaches_the_other_replica_or_it_does_not_trust_its_memory(
    world: World, fault: Fault
) -> None:
    async with running(world.here, world.there):
        await fault(world)

        await world.here.cache.purge(("image:1",))

        assert "image:1" in world.there.purges.tags_purged or not world.there.trusts_its_memory
        await world.there.until_trusted()


@pytest.mark.parametrize("tags", [("image:1",), ()], ids=["a tag", "everything"])
async def test_a_purge_that_could_not_be_told_is_told_by_the_cache_of_a_reload(
    world: World, tags: tuple[str, ...]
) -> None:
    async with running(world.here, world.there):
        world.redis.kill()
        purged = await (world.here.cache.purge(tags) if tags else world.here.cache.purge_all())
        assert not purged.is_told

        await world.here.reload_cache()
        assert not world.here.trusts_its_memory
        world.redis.start()

        told = world.there.purges
        await until(lambda: set(tags) <= set(told.tags_purged) and (bool(tags) or told.times_emptied > 0), 60)
        await world.here.until_trusted()
        assert not world.here.debts


@FAULTS
async def test_counters_work_again_or_stay_lost_without_alternating(world: World, fault: Fault) -> None:
    lasts = fault in (no_memory, no_scripts)
    async with running(world.here, world.there):
        assert await world.here.count()
        with capture_logs() as logs:
            await fault(world)
            async with asyncio.timeout(60):
                while await world.here.count() is lasts:
                    await asyncio.sleep(0.01)
            for _ in range(50):
                assert await world.here.count() is not lasts
                await asyncio.sleep(0.01)
        lost = [line for line in logs if line["event"] == "shared store lost"]
        assert len([line for line in lost if line["use"] == "counters"]) <= 1
        await world.here.until_trusted()


async def test_who_subscribes_while_a_late_connection_opens_is_subscribed(world: World) -> None:
    await late(world)
    store = SharedStore(world.forwarders[0].url)  # with the default timeout
    broadcast = RedisBroadcast(store, lease_seconds=LEASE_SECONDS)
    received: asyncio.Queue[bytes] = asyncio.Queue()
    told: list[str] = []
    await broadcast.start()
    while not world.forwarders[0].passages:
        await asyncio.sleep(0)  # it opens

    broadcast.subscribe(
        "x", received.put_nowait, lambda: told.append("lost"), lambda _: told.append("confirm")
    )

    await until(lambda: "confirm" in told, 30)
    assert told[0] == "lost"
    assert await broadcast.publish("x", b"one") == 1
    assert await received.get() == b"one"
    await broadcast.close()
    await store.close()


async def test_a_channel_that_is_left_and_wanted_again_at_once_is_confirmed(world: World) -> None:
    store = SharedStore(world.forwarders[0].url)
    broadcast = RedisBroadcast(store, lease_seconds=LEASE_SECONDS)
    await broadcast.start()
    first, second = asyncio.Event(), asyncio.Event()
    unsubscribe = broadcast.subscribe("x", lambda _: None, lambda: None, lambda _: first.set())
    await asyncio.wait_for(first.wait(), 30)

    unsubscribe()
    broadcast.subscribe("x", lambda _: None, lambda: None, lambda _: second.set())

    await asyncio.wait_for(second.wait(), 30)
    await broadcast.close()
    await store.close()


async def test_a_replica_that_starts_later_knows_what_was_revoked(world: World) -> None:
    async with running(world.here):
        await world.here.revoke(REVOKED)
        async with running(world.there):
            async with asyncio.timeout(60):
                while not await world.there.knows_revoked(REVOKED):
                    await asyncio.sleep(0.01)


async def test_what_a_redis_has_lost_is_recorded_again(world: World) -> None:
    async with running(world.here):
        await world.here.revoke(REVOKED)
        await restart(world)
        await until(lambda: bool(world.redis.client().exists("metaproxy:revocations")), 30)
        async with running(world.there):
            async with asyncio.timeout(60):
                while not await world.there.knows_revoked(REVOKED):
                    await asyncio.sleep(0.01)


async def test_what_a_redis_with_older_data_has_lost_is_recorded_again(world: World) -> None:
    async with running(world.here):
        key = "metaproxy:revocations"
        with world.redis.client() as client:
            await until(lambda: bool(client.exists(key)), 30)
            before = client.dump(key)
            await world.here.revoke(REVOKED)
        world.redis.kill()
        world.redis.start()
        with world.redis.client() as client:
            client.restore(key, 0, before, replace=True)
            await until(lambda: client.zcard(key) == 2, 30)


async def test_what_a_redis_has_lost_in_silence_is_recorded_again(world: World) -> None:
    async with running(world.here):
        await world.here.revoke(REVOKED)
        with world.redis.client() as client:
            client.flushall()
            await until(lambda: bool(client.exists("metaproxy:revocations")), 30)
        async with running(world.there):
            async with asyncio.timeout(60):
                while not await world.there.knows_revoked(REVOKED):
                    await asyncio.sleep(0.01)
    assert world.here.asked == len(TOKENS)


async def test_a_record_that_cannot_be_read_counts_as_absent_and_is_doubted_once(world: World) -> None:
    async with running(world.here):
        with world.redis.client() as client:
            client.zadd("metaproxy:revocations", {"nonsense": time.time()})
        await world.here.revoke(REVOKED)  # so that the record is read soon
        async with asyncio.timeout(60):
            while world.here.asked < 2 * len(TOKENS) - 1:
                await world.here.ask_for_all()
                await asyncio.sleep(0.01)
        for _ in range(150):
            await world.here.ask_for_all()
            await asyncio.sleep(0.01)
    assert world.here.asked <= 2 * len(TOKENS)


async def test_a_connection_that_died_silently_is_closed_at_the_server_too(world: World) -> None:
    async with running(world.here, world.there):
        channel = "metaproxy:channel:cache"
        with world.redis.client() as client:
            assert client.pubsub_numsub(channel) == [(channel.encode(), 2)]
            world.forwarders[1].swallow_subscribers()
            await until(lambda: not world.there.trusts_its_memory, 30)
            await world.there.until_trusted()
            await until(lambda: client.pubsub_numsub(channel) == [(channel.encode(), 2)], 30)


async def test_a_revocation_that_cannot_be_recorded_reaches_a_replica_that_was_away(world: World) -> None:
    async with running(world.here, world.there):
        await no_memory(world)
        await half_open(world)
        with pytest.raises(NotRecorded):
            await world.here.revocations.revoke(Revocation.of_token(REVOKED.decode()))

        async with asyncio.timeout(60):
            while not await world.there.knows_revoked(REVOKED):
                await asyncio.sleep(0.01)


async def test_a_users_revocation_that_cannot_be_recorded_is_not_told_again_and_again(world: World) -> None:
    async with running(world.here, world.there):
        await no_memory(world)
        with world.redis.client() as client:
            with pytest.raises(NotRecorded):
                await world.here.revocations.revoke(Revocation(user_id=TOKENS[0].decode()))
            for _ in range(150):
                await world.there.ask_for_all()
                await asyncio.sleep(0.01)
            assert world.there.asked < 10 * len(TOKENS)  # told with each heartbeat, it would be 300
            assert client.zcard("metaproxy:revocations") == 1
            client.config_set("maxmemory", "0")
            await until(lambda: client.zcard("metaproxy:revocations") == 2, 30)


async def test_a_verdict_that_was_on_its_way_when_a_token_was_revoked_is_not_kept(world: World) -> None:
    async with running(world.here, world.there):
        world.there.validator.doubt()
        gate = world.there.identity.gate = asyncio.Event()
        asked = asyncio.ensure_future(world.there.validator.resolve(REVOKED))
        await asyncio.sleep(0)
        half = world.forwarders[1].swallow_subscribers
        half()
        await world.here.revoke(REVOKED)
        await asyncio.sleep(LEASE_SECONDS)
        await world.there.until_trusted()
        gate.set()
        await asked

        async with asyncio.timeout(60):
            while not await world.there.knows_revoked(REVOKED):
                await asyncio.sleep(0.01)


async def test_a_primary_that_stays_read_only_is_not_connected_to_in_a_hurry(world: World) -> None:
    async with running(world.here):
        with world.redis.client() as client:
            before = client.info("stats")["total_connections_received"]
            client.replicaof("127.0.0.1", "1")
            for _ in range(100):
                await world.here.count()
                await asyncio.sleep(0.01)
            assert client.info("stats")["total_connections_received"] - before < 40
            client.replicaof("NO", "ONE")
            await until(lambda: world.here.store.available, 30)
            await world.here.until_trusted()
            assert await world.here.count()


async def test_the_end_of_every_connection_that_listens_is_told_at_once(world: World) -> None:
    async with running(world.here, world.there):
        with world.redis.client() as client:
            client.client_kill_filter(_type="pubsub")
        await world.here.revoke(REVOKED)
        async with asyncio.timeout(60):
            while not await world.there.knows_revoked(REVOKED):
                await asyncio.sleep(0.01)
        assert world.there.asked == len(TOKENS) + 1  # about the revoked one, whose rejection is kept since


async def test_a_user_who_may_not_record_revocations_is_logged_once_and_hears_of_them(world: World) -> None:
    with world.redis.client() as client:
        client.execute_command("ACL", "SETUSER", "default", "-zadd", "-zrangebyscore")
    with capture_logs() as logs:
        async with running(world.here, world.there):
            await world.here.revoke(REVOKED)
            async with asyncio.timeout(60):
                while not await world.there.knows_revoked(REVOKED):
                    await asyncio.sleep(0.01)
            await asyncio.sleep(2 * LEASE_SECONDS)
    refused = [line for line in logs if line["event"] == "revocations are not recorded"]
    assert [line["reason"] for line in refused] == ["permission"] * 2  # one of each replica


async def test_a_replica_that_is_cut_off_asks_identity_about_each_token_once_more(world: World) -> None:
    async with running(world.here, world.there):
        world.forwarders[1].swallow_all()

        async with asyncio.timeout(60):
            while world.there.asked < 2 * len(TOKENS):
                await world.there.ask_for_all()
                await asyncio.sleep(0.01)
        assert not world.there.trusts_its_memory
        for _ in range(100):
            await world.there.ask_for_all()
            await asyncio.sleep(0.01)
        assert world.there.asked == 2 * len(TOKENS)
