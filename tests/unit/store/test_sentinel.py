"""The store behind real sentinels: two servers of which one may be killed, demoted or cut off."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest
from structlog.testing import capture_logs

from metaproxy.identity.validator import Rejected
from metaproxy.store.redis.connection import SharedStore
from metaproxy.store.redis.counters import RedisCounters
from metaproxy.store.redis.entries import RedisEntries
from metaproxy.store.unavailable import StoreUnavailable
from tests.forwarder import Forwarder
from tests.ports import HeldPorts
from tests.redis_sentinel import SERVICE, RedisBehindSentinel, SentinelProcess
from tests.redis_server import RedisServer
from tests.unit.store.charges import charge
from tests.unit.store.replica import TOKENS, Replica, running
from tests.unit.store.waiting import until

pytestmark = pytest.mark.redis

REVOKED = TOKENS[7]
WORKERS = 20


@pytest.fixture
def world() -> Iterator[RedisBehindSentinel]:
    with RedisBehindSentinel() as world:
        yield world


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[SharedStore]:
    """A store that is connected; nothing of it is left behind."""
    store = SharedStore(url, timeout_seconds=0.5)
    await store.start()
    try:
        yield store
    finally:
        await store.close()


def addresses(ways: list[Forwarder]) -> str:
    """The URL of the store, by way of ``ways`` to its sentinels."""
    return f"redis+sentinel://{','.join(way.url[len('redis://') : -len('/0')] for way in ways)}/{SERVICE}"


async def planned(world: RedisBehindSentinel) -> None:
    """An operator has another server become the primary."""
    await asyncio.to_thread(world.fail_over)


async def killed(world: RedisBehindSentinel) -> None:
    """The primary crashes."""
    world.primary.kill()


async def cut_off(world: RedisBehindSentinel) -> None:
    """The sentinels replace a primary that they cannot demote: it keeps its connections and takes writes."""
    with world.primary.client() as client:
        client.execute_command("ACL", "SETUSER", "default", "-slaveof", "-replicaof")
    await planned(world)


FAULTS = pytest.mark.parametrize("fault", [planned, killed, cut_off], ids=lambda fault: fault.__name__)
Fault = Callable[[RedisBehindSentinel], Awaitable[None]]


async def until_counted(counters: RedisCounters, server: RedisServer) -> None:
    """Count until ``server`` has a counter."""
    with server.client() as client:
        client.flushall()
        async with asyncio.timeout(60):
            while not client.keys("metaproxy:rate:*"):
                try:
                    await counters.take([charge(limit=1000)])
                except StoreUnavailable:
                    await asyncio.sleep(0.01)


@FAULTS
async def test_requests_are_counted_by_the_new_primary(world: RedisBehindSentinel, fault: Fault) -> None:
    async with opened(world.url) as store:
        counters = RedisCounters(store, algorithm="gcra")
        await counters.take([charge(limit=1000)])
        spare = world.other
        await fault(world)
        await until(lambda: world.primary is spare, 60)

        await until_counted(counters, spare)
        await until(lambda: store.available, 60)
        assert store.connections.epoch > 0


async def test_a_kill_under_load_admits_no_more_than_the_limit_and_what_was_not_replicated(
    world: RedisBehindSentinel,
) -> None:
    async with opened(world.url) as store:
        counters = RedisCounters(store, algorithm="fixed-window")
        limit, admitted = 3000, 0
        one = charge(limit=limit, period_seconds=86400, algorithm="fixed-window")
        is_replicated = asyncio.Event()

        async def ask() -> None:
            nonlocal admitted
            while True:
                try:
                    taken = await counters.take([one])
                except StoreUnavailable:
                    await asyncio.sleep(0.01)
                    continue
                if not taken.admitted:
                    return
                admitted += 1
                if admitted >= limit // 2:
                    await is_replicated.wait()

        workers = [asyncio.ensure_future(ask()) for _ in range(WORKERS)]
        await until(lambda: admitted >= limit // 2 + WORKERS - 1, 60)
        with world.primary.client() as client:
            assert await asyncio.to_thread(client.wait, 1, 0) == 1
        world.primary.kill()
        is_replicated.set()

        async with asyncio.timeout(60):
            await asyncio.gather(*workers)
        assert admitted == limit


@FAULTS
async def test_a_revocation_reaches_the_other_replica(world: RedisBehindSentinel, fault: Fault) -> None:
    here, there = Replica(world.url), Replica(world.url)
    async with running(here, there):
        await fault(world)
        await here.revoke(REVOKED)

        async with asyncio.timeout(60):
            while not await there.knows_revoked(REVOKED):
                await asyncio.sleep(0.01)
        assert isinstance(await here.validator.resolve(REVOKED), Rejected)


@FAULTS
async def test_a_purge_reaches_the_other_replica_or_it_does_not_trust_its_memory(
    world: RedisBehindSentinel, fault: Fault
) -> None:
    here, there = Replica(world.url), Replica(world.url)
    async with running(here, there):
        await fault(world)

        await here.cache.purge(("image:1",))

        assert "image:1" in there.purges.tags_purged or not there.trusts_its_memory
        await there.until_trusted()


async def test_a_purge_that_a_former_primary_took_alone_is_told_again(world: RedisBehindSentinel) -> None:
    here, there = Replica(world.url), Replica(world.url)
    async with running(here, there):
        await here.cache.purge(("image:1",))
        there.purges.tags_purged.clear()
        with world.primary.client() as client:
            client.client_kill_filter(_type="pubsub")

        await until(lambda: "image:1" in there.purges.tags_purged, 60)


async def test_an_entry_from_before_a_failover_does_not_count(world: RedisBehindSentinel) -> None:
    async with opened(world.url) as store:
        entries = RedisEntries(store)
        await entries.put(b"key", b"old", await entries.get(b"key", ("image:1",)), 60)
        assert (await entries.get(b"key", ("image:1",))).content == b"old"
        await planned(world)
        async with asyncio.timeout(60):
            while True:
                with suppress(OSError):
                    found = await entries.get(b"key", ("image:1",))
                    if store.connections.epoch > 0:
                        break
                await asyncio.sleep(0.01)

        assert found.content is None
        await entries.put(b"key", b"new", found, 60)
        assert (await entries.get(b"key", ("image:1",))).content == b"new"


async def test_one_sentinel_of_three_is_enough(world: RedisBehindSentinel) -> None:
    for sentinel in world.sentinels[:2]:
        sentinel.kill()
    async with opened(world.url) as store:
        assert store.available


async def test_a_service_that_no_sentinel_knows_is_named(world: RedisBehindSentinel) -> None:
    async with opened(world.url.replace(SERVICE, "another")) as store:
        (trouble,) = store.troubles
        assert re.fullmatch(
            r"away \(no_master: the sentinel at 127\.0\.0\.1:\d+: the service 'another' is unknown\)", trouble
        )


async def test_sentinels_that_are_away_are_a_store_that_is_away() -> None:
    with HeldPorts() as nobody:
        async with opened(f"redis+sentinel://127.0.0.1:{nobody.first}/{SERVICE}") as store:
            (trouble,) = store.troubles
            assert trouble.startswith("away (refused: ")


async def test_sentinels_that_are_slow_are_waited_for(world: RedisBehindSentinel) -> None:
    async with AsyncExitStack() as stack:
        slow = [
            await stack.enter_async_context(Forwarder(sentinel.port, delay_seconds=0.3))
            for sentinel in world.sentinels
        ]
        async with opened(addresses(slow)) as store:
            await until(lambda: store.available, 60)


async def test_sentinels_that_are_silent_are_named_as_such(world: RedisBehindSentinel) -> None:
    async with Forwarder(world.sentinels[0].port) as silent:
        silent.swallow_all()
        with capture_logs() as logs:
            async with opened(addresses([silent])) as store:
                told = "no sentinel answers within 3 s"
                await until(lambda: store.troubles == [f"away (timeout: {told})"], 60)
    (lost,) = [line for line in logs if line["event"] == "shared store lost"]
    assert lost["reason"] == "timeout"


async def test_the_log_says_from_where_to_where_the_store_moved(world: RedisBehindSentinel) -> None:
    former, then = world.primary.port, world.other.port
    with capture_logs() as logs:
        async with opened(world.url):
            await planned(world)
            await until(lambda: any(line["event"] == "shared store moved" for line in logs), 60)
    moved = next(line for line in logs if line["event"] == "shared store moved")
    assert (moved["former"], moved["address"]) == (f"127.0.0.1:{former}", f"127.0.0.1:{then}")


async def test_the_passwords_of_sentinels_and_of_servers_are_two(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        client.config_set("requirepass", "servers@1")
    sentinel = SentinelProcess(
        redis_server.port, lines=f"requirepass sentinel@1\nsentinel auth-pass {SERVICE} servers@1\n"
    )
    sentinel.start()
    try:
        address = f"127.0.0.1:{sentinel.port}/{SERVICE}"
        refuser = f"the sentinel at 127.0.0.1:{sentinel.port}"
        url = f"redis+sentinel://:servers%401@{address}?sentinel_password=sentinel%401"
        async with opened(url) as store:
            await until(lambda: store.available, 60)
            counters = RedisCounters(store, algorithm="gcra")
            assert (await counters.take([charge(limit=1)])).admitted
        async with opened(f"redis+sentinel://:servers%401@{address}") as store:
            assert store.troubles == [f"away (authentication: {refuser}: Authentication required.)"]
        for wrong, who in (
            (url.replace("sentinel%401", "no"), refuser),
            (url.replace(":servers%401", ":no"), f"the server at 127.0.0.1:{redis_server.port}"),
        ):
            async with opened(wrong) as store:
                (trouble,) = store.troubles
                assert trouble.startswith(f"away (authentication: {who}: ")
    finally:
        sentinel.close()
