"""Slots of running requests: the same over memory and over a real Redis."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from metaproxy.store.redis.connection import SharedStore
from metaproxy.store.redis.slots import RedisSlots
from metaproxy.store.running import BEATS_A_LEASE, SharedRunning, Slot, Slots
from metaproxy.store.unavailable import StoreUnavailable
from tests.redis_server import RedisServer
from tests.unit.store.memory_slots import MemorySlots
from tests.unit.store.waiting import until

DEPLOYING = Path(__file__).resolve().parents[3] / "config" / "DEPLOYING.md"
LEASE_SECONDS = 0.6
CONSUMER = "project:p"
MAXIMUM = 3


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.redis)])
async def slots(request: pytest.FixtureRequest) -> AsyncIterator[Slots]:
    if request.param == "memory":
        yield MemorySlots(lease_seconds=LEASE_SECONDS)
        return
    server: RedisServer = request.getfixturevalue("redis_server")
    store = SharedStore(server.url, timeout_seconds=5)
    await store.start()
    yield RedisSlots(store, lease_seconds=LEASE_SECONDS)
    await store.close()


async def test_one_more_than_the_maximum_has_no_slot(slots: Slots) -> None:
    assert [await slots.enter(CONSUMER, b"%d" % number, 2) for number in range(3)] == [True, True, False]
    assert await slots.enter("project:another", b"x", 2)


async def test_a_slot_that_is_left_is_free(slots: Slots) -> None:
    await slots.enter(CONSUMER, b"a", 1)
    await slots.leave({CONSUMER: [b"a", b"b"], "project:another": [b"c"]})
    assert await slots.enter(CONSUMER, b"b", 1)


async def test_a_slot_that_is_not_renewed_ends_with_its_lease(slots: Slots) -> None:
    await slots.enter(CONSUMER, b"a", 1)
    async with asyncio.timeout(60):
        while not await slots.enter(CONSUMER, b"b", 1):
            await asyncio.sleep(LEASE_SECONDS / 10)


async def test_a_renewed_slot_counts_also_if_the_store_had_lost_it(slots: Slots) -> None:
    await slots.renew({CONSUMER: [b"a", b"b"], "project:another": [b"c"]})
    assert not await slots.enter(CONSUMER, b"d", 2)
    assert not await slots.enter("project:another", b"d", 1)


async def test_a_process_keeps_its_slots_for_longer_than_a_lease(slots: Slots) -> None:
    here, there = (SharedRunning(slots, lease_seconds=LEASE_SECONDS) for _ in range(2))
    await here.start()
    slot = await here.enter(CONSUMER, 1)
    held = here.hold("project:another")
    assert slot is not None
    for _ in range(3 * BEATS_A_LEASE):
        await asyncio.sleep(LEASE_SECONDS / BEATS_A_LEASE)
        assert await there.enter(CONSUMER, 1) is None
    assert await there.enter("project:another", 1) is None
    here.leave(CONSUMER, slot)
    here.leave("project:another", held)
    async with asyncio.timeout(60):
        while await there.enter(CONSUMER, 1) is None or await there.enter("project:another", 1) is None:
            await asyncio.sleep(0)
    await here.close()
    await there.close()


async def test_a_process_that_ends_leaves_no_slot(slots: Slots) -> None:
    here = SharedRunning(slots, lease_seconds=3600)
    await here.start()
    await here.enter(CONSUMER, 2)
    here.hold(CONSUMER)
    await here.close()
    assert await slots.enter(CONSUMER, b"x", 1)


async def test_a_request_that_gives_up_while_it_enters_keeps_no_slot(slots: Slots) -> None:
    here = SharedRunning(slots, lease_seconds=3600)
    for turns in range(8):
        entering = asyncio.ensure_future(here.enter(CONSUMER, 1))
        for _ in range(turns):
            await asyncio.sleep(0)
        entering.cancel()
        (outcome,) = await asyncio.gather(entering, return_exceptions=True)
        if isinstance(outcome, bytes):
            here.leave(CONSUMER, outcome)
    await here.close()
    assert await slots.enter(CONSUMER, b"x", 1)


class Failing(MemorySlots):
    """Slots of which the store fails."""

    async def enter(self, consumer: str, slot: Slot, maximum: int) -> bool:
        """Make the slot, and fail before that is known."""
        await super().enter(consumer, slot, maximum)
        raise StoreUnavailable("away")


async def test_a_slot_whose_making_failed_is_left() -> None:
    slots = Failing(lease_seconds=3600)
    here = SharedRunning(slots)
    with pytest.raises(StoreUnavailable):
        await here.enter(CONSUMER, 1)
    await until(lambda: slots.of(CONSUMER) == 0)
    await here.close()


@pytest.mark.redis
async def test_a_value_of_another_type_counts_as_no_slots(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        client.set("metaproxy:running:project:p", "x")
    store = SharedStore(redis_server.url, timeout_seconds=5)
    assert await RedisSlots(store).enter(CONSUMER, b"a", 1)
    assert not await RedisSlots(store).enter(CONSUMER, b"b", 1)
    await store.close()


@pytest.mark.redis
async def test_a_slot_of_a_server_whose_clock_was_ahead_ends_with_a_lease(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        client.zadd("metaproxy:running:project:p", {"far": 2**45})
    store = SharedStore(redis_server.url, timeout_seconds=5)
    slots = RedisSlots(store, lease_seconds=LEASE_SECONDS)
    await slots.enter(CONSUMER, b"a", 2)  # it has seen the other slot
    async with asyncio.timeout(60):
        while not await slots.enter(CONSUMER, b"b", 1):
            await asyncio.sleep(LEASE_SECONDS / 10)
    await store.close()


@pytest.mark.redis
async def test_many_slots_are_renewed_in_portions(redis_server: RedisServer) -> None:
    store = SharedStore(redis_server.url, timeout_seconds=5)
    here = SharedRunning(RedisSlots(store, lease_seconds=3600), lease_seconds=0.3)
    await here.start()
    for number in range(1200):
        here.hold(f"project:{number % 700}")
    with redis_server.client() as client:

        def slots() -> int:
            return sum(client.zcard(key) for key in client.keys("metaproxy:running:*"))

        await until(lambda: slots() == 1200, 60)
    await here.close()
    with redis_server.client() as client:
        assert client.keys("metaproxy:running:*") == []
    await store.close()


@pytest.mark.redis
async def test_never_more_than_the_maximum_run_over_many_processes(redis_server: RedisServer) -> None:
    stores = [SharedStore(redis_server.url, timeout_seconds=20) for _ in range(5)]
    processes = [SharedRunning(RedisSlots(store)) for store in stores]
    chance = random.Random(1)
    now, most, entered = 0, 0, 0

    async def request(process: SharedRunning) -> None:
        nonlocal now, most, entered
        slot = await process.enter(CONSUMER, MAXIMUM)
        if slot is None:
            return
        entered += 1
        now += 1
        most = max(most, now)
        for _ in range(chance.randrange(5)):
            await asyncio.sleep(0)
        now -= 1
        process.leave(CONSUMER, slot)

    for _ in range(20):
        await asyncio.gather(*(request(process) for process in processes for _ in range(10)))
    assert most == MAXIMUM
    assert entered >= 20
    for process in processes:
        await process.close()
    with redis_server.client() as client:
        assert client.keys("metaproxy:running:*") == []
    for store in stores:
        await store.close()
