"""Shared tokens are used only by a replica that knows what was revoked."""

import asyncio
from collections.abc import Callable, Sequence

import pytest

from metaproxy.identity.revocation import Revocation
from metaproxy.identity.revocations import CHANNEL, Revocations
from metaproxy.store.broadcast import Confirm, Lost, Receive, Unsubscribe, ignore
from metaproxy.store.revocations import MAX_RECORDED, Record, Recorded
from tests.unit.identity.sharing_replicas import LIFE, Replica, World


async def settled() -> None:
    """Let every task go on for as long as it waits for nothing outside."""
    for _ in range(20):
        await asyncio.sleep(0)


class Messages:
    """A broadcast that the test plays."""

    name = "messages"
    lossless = False

    def __init__(self) -> None:
        self.receive: Receive = lambda _: None
        self.lost: Lost = lambda: None
        self.confirm: Confirm = ignore

    async def publish(self, channel: str, payload: bytes) -> int:
        return 1

    def subscribe(self, channel: str, receive: Receive, lost: Lost, confirm: Confirm = ignore) -> Unsubscribe:
        if channel == CHANNEL:
            self.receive, self.lost, self.confirm = receive, lost, confirm
        return lambda: None


class Written:
    """A record that the test writes."""

    def __init__(self) -> None:
        self.entries: Sequence[Recorded] = ()
        self.is_whole = self.is_readable = True
        self.life = LIFE
        self.meanwhile: Callable[[], None] = lambda: None

    async def add(self, entries: Sequence[Recorded]) -> None:
        pass

    async def read(self) -> Record:
        if not self.is_readable:
            raise ConnectionError("away")
        self.meanwhile()
        return Record(self.entries, is_whole=self.is_whole, is_everything=True, life=self.life)


class Room:
    """A value that a replica stored ten seconds ago, and another replica that starts."""

    def __init__(self, world: World, replica: Replica) -> None:
        self.world, self.replica = world, replica
        self.messages, self.record = Messages(), Written()
        self.revocations = Revocations(
            replica.validator, self.messages, self.record, lease_seconds=3600, start_seconds=0.0
        )

    async def start(self) -> None:
        """Start; the broadcast confirms when the replica would not wait for it any longer."""
        await self.revocations.start()
        await self.confirm()

    async def confirm(self) -> None:
        await settled()
        self.messages.confirm(1.0)
        await settled()

    async def result(self) -> str:
        """Return the result of a look-up."""
        await self.replica.resolve()
        (result,) = self.replica.look_ups
        return result


@pytest.fixture
async def room() -> Room:
    world = World()
    await world.replica().resolve()
    world.pass_time(10)
    return Room(world, world.replica(is_in_touch=False))


async def test_a_replica_that_has_read_the_record_uses_shared_tokens(room: Room) -> None:
    await room.start()

    assert await room.result() == "found"
    await room.revocations.close()


async def test_a_replica_that_could_not_read_the_record_uses_none(room: Room) -> None:
    room.record.is_readable = False
    await room.start()

    assert await room.result() == "not_in_touch"
    await room.revocations.close()


async def test_a_replica_that_reads_the_record_and_gets_no_messages_uses_none(room: Room) -> None:
    await room.revocations.start()

    assert await room.result() == "not_in_touch"
    await room.revocations.close()


async def test_a_replica_that_loses_touch_uses_none(room: Room) -> None:
    await room.start()
    room.messages.lost()

    assert await room.result() == "not_in_touch"
    await room.revocations.close()


async def test_a_replica_that_is_back_and_has_read_the_record_again_uses_them_again(room: Room) -> None:
    await room.start()
    room.messages.lost()
    await room.confirm()

    assert await room.result() == "found"
    await room.revocations.close()


async def test_a_replica_that_is_back_and_cannot_read_the_record_uses_none(room: Room) -> None:
    await room.start()
    room.messages.lost()
    room.record.is_readable = False
    await room.confirm()

    assert await room.result() == "not_in_touch"
    await room.revocations.close()


async def test_a_replica_that_loses_touch_while_it_reads_the_record_uses_none(room: Room) -> None:
    await room.revocations.start()
    room.record.meanwhile = room.messages.lost
    await room.confirm()

    assert await room.result() == "not_in_touch"
    await room.revocations.close()


async def test_a_record_that_lost_entries_voids_everything(room: Room) -> None:
    room.record.is_whole = False
    await room.start()

    assert await room.result() == "revoked"
    await room.revocations.close()


async def test_a_record_of_another_life_voids_everything(room: Room) -> None:
    room.record.life = b"mark:2 run-1"
    await room.start()

    assert await room.result() == "unreadable"
    await room.revocations.close()


@pytest.mark.parametrize(("age", "result"), [(1.0, "revoked"), (60.0, "found")])
async def test_a_recorded_revocation_voids_what_was_validated_before_it(
    room: Room, age: float, result: str
) -> None:
    room.record.entries = [Recorded(Revocation(user_id="u1").payload(), age)]
    await room.start()

    assert await room.result() == result
    await room.revocations.close()


@pytest.mark.parametrize(("oldest", "result"), [(5.0, "revoked"), (60.0, "found")])
async def test_a_full_record_voids_what_was_validated_before_its_oldest_entry(
    room: Room, oldest: float, result: str
) -> None:
    room.record.entries = [
        Recorded(Revocation(user_id=f"other-{number}").payload(), oldest) for number in range(MAX_RECORDED)
    ]
    await room.start()

    assert await room.result() == result
    await room.revocations.close()


async def test_a_revocation_that_nobody_can_read_voids_everything(room: Room) -> None:
    await room.start()
    room.messages.receive(b"of a newer version")

    assert await room.result() == "revoked"
    await room.revocations.close()
