"""A process that starts knows what was revoked before: it reads the record before it takes requests."""

import asyncio
from collections.abc import Sequence

from structlog.testing import capture_logs

from metaproxy.clock import monotonic
from metaproxy.exchange import Identity
from metaproxy.identity.cached import CachedValidator
from metaproxy.identity.revocation import Revocation
from metaproxy.identity.revocations import CHANNEL, Revocations
from metaproxy.identity.validator import Rejected
from metaproxy.store.broadcast import Confirm, Lost, Receive, Unsubscribe, ignore
from metaproxy.store.revocations import Record, Recorded
from tests.identities import FakeIdentity

REVOKED = Revocation.of_token("alice").payload()


class Scripted:
    """A broadcast that confirms when the test says so."""

    name = "scripted"
    lossless = False

    def __init__(self) -> None:
        self.confirm: Confirm = ignore
        self.lost: Lost = lambda: None
        self.subscribed = asyncio.Event()

    async def publish(self, channel: str, payload: bytes) -> int:
        return 1

    def subscribe(self, channel: str, receive: Receive, lost: Lost, confirm: Confirm = ignore) -> Unsubscribe:
        if channel == CHANNEL:
            self.lost, self.confirm = lost, confirm
            self.subscribed.set()
        return lambda: None


class Kept:
    """A record in memory that fails as often as it is told."""

    def __init__(self, *payloads: bytes, failures: int = 0) -> None:
        self.payloads = list(payloads)
        self.failures = failures
        self.readings = 0

    async def add(self, entries: Sequence[Recorded]) -> None:
        self.payloads += [entry.payload for entry in entries]

    async def read(self) -> Record:
        self.readings += 1
        if self.failures > 0:
            self.failures -= 1
            raise ConnectionError("no server")
        entries = [Recorded(payload, 60.0) for payload in self.payloads]
        return Record(entries, is_whole=True, is_everything=True)


async def test_the_start_waits_until_the_record_was_read() -> None:
    broadcast, record, validator = Scripted(), Kept(REVOKED), CachedValidator(FakeIdentity())
    revocations = Revocations(validator, broadcast, record, start_seconds=60)

    starting = asyncio.ensure_future(revocations.start())
    await broadcast.subscribed.wait()
    await asyncio.sleep(0)
    has_begun_early = starting.done()
    broadcast.confirm(monotonic())
    await asyncio.wait_for(starting, 20)

    assert not has_begun_early
    assert await validator.resolve(b"alice") == Rejected("token_revoked")
    await revocations.close()


async def test_what_is_recorded_while_it_subscribes_is_read() -> None:
    broadcast, record, validator = Scripted(), Kept(), CachedValidator(FakeIdentity())
    revocations = Revocations(validator, broadcast, record, start_seconds=60)

    starting = asyncio.ensure_future(revocations.start())
    await broadcast.subscribed.wait()
    record.payloads.append(REVOKED)  # its message went to others alone
    broadcast.lost()
    broadcast.confirm(monotonic())
    await asyncio.wait_for(starting, 20)

    assert await validator.resolve(b"alice") == Rejected("token_revoked")
    await revocations.close()


async def test_a_reading_that_fails_is_tried_again_before_the_start_ends() -> None:
    broadcast, record, validator = Scripted(), Kept(REVOKED, failures=2), CachedValidator(FakeIdentity())
    revocations = Revocations(validator, broadcast, record, start_seconds=60)

    starting = asyncio.ensure_future(revocations.start())
    async with asyncio.timeout(20):
        await broadcast.subscribed.wait()
        while not starting.done():
            broadcast.confirm(monotonic())
            await asyncio.sleep(0)

    assert record.readings == 3
    assert await validator.resolve(b"alice") == Rejected("token_revoked")
    await revocations.close()


async def test_a_record_that_can_be_read_is_read_although_no_message_arrives() -> None:
    validator = CachedValidator(FakeIdentity())
    revocations = Revocations(validator, Scripted(), Kept(REVOKED), start_seconds=0)

    await revocations.start()

    assert await validator.resolve(b"alice") == Rejected("token_revoked")
    await revocations.close()


async def test_without_the_record_it_starts_says_so_and_reads_when_the_store_is_back() -> None:
    broadcast, record, validator = Scripted(), Kept(REVOKED, failures=1), CachedValidator(FakeIdentity())
    revocations = Revocations(validator, broadcast, record, start_seconds=0)

    with capture_logs() as logs:
        await revocations.start()
    before = await validator.resolve(b"alice")
    broadcast.confirm(monotonic())
    async with asyncio.timeout(20):
        while isinstance(await validator.resolve(b"alice"), Identity):
            await asyncio.sleep(0)

    assert isinstance(before, Identity)
    assert "recorded revocations cannot be read" in str(logs)
    await revocations.close()
