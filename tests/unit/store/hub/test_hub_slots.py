"""Slots of running requests in the hub."""

from metaproxy.store.hub.held_slots import HeldSlots
from metaproxy.store.hub.slots import HubSlots
from metaproxy.store.running import LEASE_SECONDS, SharedRunning
from tests.filters.limiting import FakeClock
from tests.unit.store.hub.supervised import SECONDS, supervised
from tests.unit.store.waiting import until


async def test_no_consumer_has_more_slots_than_its_limit_over_all_workers() -> None:
    async with supervised(2) as (_, workers):
        one, two = (HubSlots(worker.client) for worker in workers)
        turns = [(one, b"0"), (two, b"1"), (one, b"2")]
        entered = [await each.enter("project:p", slot, 2) for each, slot in turns]
        other = await two.enter("project:q", b"9", 2)
        await two.leave({"project:p": [b"0"]})
        again = await two.enter("project:p", b"4", 2)
    assert (entered, other, again) == ([True, True, False], True, True)


async def test_a_worker_holds_and_frees_the_slots_of_its_requests() -> None:
    async with supervised(2) as (_, workers):
        slots = HubSlots(workers[1].client)
        running = SharedRunning(HubSlots(workers[0].client))
        consumer = "project:" + "p" * 5_000  # longer than any key that the hub takes
        slot = await running.enter(consumer, 1)
        assert slot is not None
        refused = await slots.enter(consumer, b"x", 1)
        await slots.renew({consumer: [slot]})

        running.leave(consumer, slot)
        await running.close()

        assert (refused, await slots.enter(consumer, b"x", 1)) == (False, True)


async def test_the_slots_of_a_supervisor_that_hangs_are_not_available() -> None:
    async with supervised(1, timeout_seconds=0.05) as (supervisor, [worker]):
        slots = HubSlots(worker.client)
        supervisor.pause()
        running = SharedRunning(slots)
        running.hold("project:p")
        await running.close()
        await until(lambda: not slots.available, SECONDS)


def test_a_slot_ends_with_its_lease() -> None:
    clock = FakeClock()
    slots = HeldSlots(monotonic=clock)
    slots.enter("project:p", b"1", 1)
    clock.advance(LEASE_SECONDS / 2)
    slots.renew({"project:p": [b"1"]})
    clock.advance(LEASE_SECONDS / 2)
    still = slots.enter("project:p", b"2", 1)
    clock.advance(LEASE_SECONDS / 2)
    assert (still, slots.enter("project:p", b"3", 1)) == (False, True)


def test_slots_of_workers_that_died_are_forgotten() -> None:
    clock = FakeClock()
    slots = HeldSlots(monotonic=clock)
    for number in range(100):
        slots.enter(f"project:{number}", b"1", 1)
    clock.advance(LEASE_SECONDS + 1)
    for _ in range(60):
        slots.enter("project:p", b"1", 1)
    assert len(slots) == 1


def test_slots_are_bounded() -> None:
    slots = HeldSlots(most=2)
    slots.renew({"project:p": [b"1", b"2", b"3"]})
    assert (len(slots), slots.enter("project:q", b"4", 9)) == (2, False)
    slots.leave({"project:p": [b"1"], "project:x": [b"9"]})
    assert slots.enter("project:q", b"4", 9)
