"""A process that stood still knows what was revoked meanwhile before it believes anybody."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from metaproxy.exchange import Identity
from metaproxy.identity.cached import CachedValidator
from metaproxy.identity.revocations import LEASES_IN_FORCE, Revocations
from metaproxy.identity.validator import Rejected
from metaproxy.identity.validity import Validity
from tests.identities import FakeClock, FakeIdentity
from tests.unit.identity.test_revocations_at_start import REVOKED, Kept, Scripted

LEASE_SECONDS = 3600.0
"""No timer fires in a test: a process that stands still has none."""


async def settled() -> None:
    """Let every task go on for as long as it waits for nothing outside."""
    for _ in range(20):
        await asyncio.sleep(0)


class Replica:
    """A replica that is in touch and has validated a token."""

    def __init__(self, lease_seconds: float = LEASE_SECONDS) -> None:
        self.clock, self.identity = FakeClock(), FakeIdentity()
        self.broadcast, self.record = Scripted(), Kept()
        self.validator = CachedValidator(self.identity, monotonic=self.clock, ttl=30_000_000.0, jitter=0.0)
        self.revocations = Revocations(
            self.validator, self.broadcast, self.record, lease_seconds=lease_seconds, start_seconds=0.0
        )

    async def start(self) -> None:
        await self.revocations.start()
        await self.confirm()
        await self.validator.resolve(b"alice")

    async def confirm(self) -> None:
        """Let a heartbeat come back that is sent now."""
        self.broadcast.confirm(self.clock.now)
        await settled()

    def stand_still(self) -> None:
        """Let the time pass that the others have for a revocation, and more."""
        self.clock.now += LEASES_IN_FORCE * LEASE_SECONDS + 1

    async def asks(self) -> "asyncio.Future[Identity | Rejected]":
        """Return the verdict on the token, once it is there."""
        verdict = asyncio.ensure_future(self.validator.resolve(b"alice"))
        await settled()
        return verdict


@pytest.fixture
async def replica() -> AsyncIterator[Replica]:
    replica = Replica()
    await replica.start()
    yield replica
    await replica.revocations.close()
    await replica.validator.close()


async def test_a_validity_that_has_ended_makes_wait_until_it_is_renewed() -> None:
    clock = FakeClock()
    validity = Validity(clock)
    await validity.in_force()
    validity.renew(clock.now)
    waits = asyncio.ensure_future(validity.in_force())
    await settled()
    has_ended_early = waits.done()

    validity.renew(clock.now + 1)

    await asyncio.wait_for(waits, 20)
    assert not has_ended_early


async def test_no_verdict_that_it_remembers_counts(replica: Replica) -> None:
    before = replica.validator.known(b"alice"), replica.validator.peek(b"alice")

    replica.stand_still()

    assert None not in before
    assert (replica.validator.known(b"alice"), replica.validator.peek(b"alice")) == (None, None)


async def test_identity_is_not_asked_before_the_record_was_read(replica: Replica) -> None:
    replica.stand_still()
    replica.record.payloads.append(REVOKED)
    verdict = await replica.asks()
    asked_before = replica.identity.asked[b"alice"]
    replica.broadcast.lost()
    await replica.confirm()

    assert await asyncio.wait_for(verdict, 20) == Rejected("token_revoked")
    assert asked_before == 1


async def test_a_heartbeat_from_before_restores_nothing(replica: Replica) -> None:
    sent_at = replica.clock.now
    replica.stand_still()
    verdict = await replica.asks()

    replica.broadcast.confirm(sent_at)
    await settled()

    assert not verdict.done()
    await replica.confirm()
    assert isinstance(await asyncio.wait_for(verdict, 20), Identity)


async def test_if_nothing_was_missed_identity_is_not_asked_at_all(replica: Replica) -> None:
    replica.stand_still()
    verdict = await replica.asks()
    await replica.confirm()

    assert isinstance(await asyncio.wait_for(verdict, 20), Identity)
    assert replica.identity.asked == {b"alice": 1}


async def test_an_answer_of_identity_that_was_under_way_waits_for_the_record(replica: Replica) -> None:
    replica.validator.doubt()
    replica.identity.gate = asyncio.Event()
    verdict = await replica.asks()
    replica.stand_still()
    replica.record.payloads.append(REVOKED)
    replica.identity.gate.set()
    await settled()
    has_ended_early = verdict.done()
    replica.broadcast.lost()
    await replica.confirm()

    assert not has_ended_early
    assert await asyncio.wait_for(verdict, 20) == Rejected("token_revoked")


async def test_a_record_that_cannot_be_read_at_first_is_read_before_identity_is_asked(
    replica: Replica,
) -> None:
    replica.stand_still()
    replica.record.payloads.append(REVOKED)
    replica.record.failures = 2
    verdict = await replica.asks()
    replica.broadcast.lost()
    for _ in range(2):
        await replica.confirm()
    asked_before = replica.identity.asked[b"alice"]
    await replica.confirm()

    assert await asyncio.wait_for(verdict, 20) == Rejected("token_revoked")
    assert asked_before == 1


async def test_if_the_record_cannot_be_read_for_a_lease_identity_is_asked() -> None:
    replica = Replica(lease_seconds=0.05)
    await replica.start()
    replica.stand_still()
    replica.record.failures = 1_000
    verdict = await replica.asks()
    replica.broadcast.lost()

    assert isinstance(await asyncio.wait_for(verdict, 20), Identity)
    assert replica.identity.asked == {b"alice": 2}
    await replica.revocations.close()


async def test_requests_that_wait_go_on_when_the_process_ends(replica: Replica) -> None:
    replica.stand_still()
    verdict = await replica.asks()

    await replica.revocations.close()

    assert isinstance(await asyncio.wait_for(verdict, 20), Identity)
