"""Revocations that the hub has recorded."""

import pytest

from metaproxy.exchange import Identity
from metaproxy.identity.cached import CachedValidator
from metaproxy.identity.revocation import Revocation
from metaproxy.identity.revocations import Revocations
from metaproxy.identity.validator import Rejected
from metaproxy.store.hub.messages import MAX_ENTRIES
from metaproxy.store.hub.record import MAX_RECORDED_BYTES, RecordedRevocations
from metaproxy.store.revocations import KEPT_SECONDS, Recorded
from tests.filters.limiting import FakeClock
from tests.identities import FakeIdentity
from tests.unit.store.hub.supervised import SECONDS, Supervisor, Worker, supervised
from tests.unit.store.waiting import until

ALICE, BOB = b"alice's", b"bob's"


class Tokens:
    """The verdicts on tokens of one worker."""

    def __init__(self, worker: Worker, lease_seconds: float = SECONDS) -> None:
        known = {token: Identity(user_id=token.decode()) for token in (ALICE, BOB)}
        self.validator = CachedValidator(FakeIdentity(known), negative_ttl=3600)
        self.revocations = Revocations(
            self.validator, worker.broadcast, worker.record, lease_seconds=lease_seconds
        )

    async def is_rejected(self, token: bytes) -> bool:
        """Say whether ``token`` is refused."""
        return isinstance(await self.validator.resolve(token), Rejected)

    async def close(self) -> None:
        """End what the validator and the revocations have begun."""
        await self.revocations.close()
        await self.validator.close()


async def test_a_revocation_reaches_the_other_workers_and_one_that_starts_later() -> None:
    async with supervised(2) as (supervisor, workers):
        first, second = (Tokens(worker) for worker in workers)
        for each in (first, second):
            await each.revocations.start()
            await each.is_rejected(ALICE)
        await first.revocations.revoke(Revocation.of_token(ALICE.decode()))
        await until(lambda: second.validator.revoked.made() != {}, SECONDS)
        assert await second.is_rejected(ALICE)
        await workers[1].close()  # it dies

        supervisor.pause()  # a supervisor that restarts a worker
        respawned = Worker(supervisor.hub)
        supervisor.serve()
        await respawned.start()
        later = Tokens(respawned)
        await later.revocations.start()

        assert (await later.is_rejected(ALICE), await later.is_rejected(BOB)) == (True, False)
        for each in (first, second, later):
            await each.close()
        await respawned.close()


async def test_a_long_record_is_read_whole_and_then_only_what_is_new() -> None:
    async with supervised(2) as (_, [one, two]):
        payloads = [b"%d" % number for number in range(2 * MAX_ENTRIES + 1)]
        await one.record.add([Recorded(payload, 1.0) for payload in payloads])
        everything = await two.record.read()
        await one.record.add([Recorded(b"new", 0.0)])
        new = await two.record.read()
    assert [entry.payload for entry in everything.entries] == payloads
    assert (everything.is_whole, everything.is_everything) == (True, True)
    assert [entry.payload for entry in new.entries] == [b"new"]
    assert (new.is_whole, new.is_everything) == (True, False)


async def test_a_record_that_cannot_be_reached_is_an_error_of_the_system() -> None:
    supervisor = Supervisor()
    worker = Worker(supervisor.hub)
    await worker.start()
    supervisor.close()
    with pytest.raises(OSError, match="not recorded"):
        await worker.record.add([Recorded(b"x", 0.0)])
    with pytest.raises(OSError, match="cannot be reached"):
        await worker.record.read()
    await worker.close()


def test_a_record_that_is_full_drops_the_oldest_and_says_so() -> None:
    record = RecordedRevocations(most=3)
    record.add([(b"%d" % number, 0.0) for number in range(2)])
    seen = record.recall(0)
    record.add([(b"%d" % number, 0.0) for number in range(2, 6)])

    now = record.recall(seen.until)

    assert [payload for payload, _ in now.entries] == [b"3", b"4", b"5"]
    assert (seen.is_whole, now.is_whole, len(record)) == (True, False, 3)


def test_a_record_is_bounded_in_bytes() -> None:
    record = RecordedRevocations()
    for number in range(8):
        record.add([(b"%d" % number * (MAX_RECORDED_BYTES // 4), 0.0)])
    assert len(record) == 4


def test_a_revocation_that_no_token_outlives_is_dropped() -> None:
    clock = FakeClock()
    record = RecordedRevocations(monotonic=clock)
    record.add([(b"old", 0.0), (b"aged", KEPT_SECONDS - 10)])
    clock.advance(11)
    record.add([(b"new", 0.0)])
    ages = dict(record.recall(0).entries)
    clock.advance(KEPT_SECONDS + 1)
    record.add([])
    assert ages == {b"old": 11.0, b"new": 0.0}
    assert len(record) == 0


def test_a_revocation_that_is_recorded_again_has_the_later_of_both_times() -> None:
    clock = FakeClock()
    record = RecordedRevocations(monotonic=clock)
    record.add([(b"x", 5.0)])
    first = record.recall(0)
    record.add([(b"x", 50.0)])
    assert record.recall(first.until).entries == ((b"x", 5.0),)
