"""Revocations told to every process."""

import pytest

from metaproxy.exchange import Identity
from metaproxy.identity.cached import CachedValidator
from metaproxy.identity.revocation import Revocation
from metaproxy.identity.revocations import CHANNEL, Revocations
from metaproxy.identity.validator import Rejected
from metaproxy.store.broadcast import Confirm, LocalBroadcast, Lost, Receive, Unsubscribe, ignore
from tests.identities import FakeIdentity


class Unreachable(LocalBroadcast):
    """A broadcast whose server is gone."""

    lost: Lost

    async def publish(self, channel: str, payload: bytes) -> int:
        raise ConnectionError("no server")

    def subscribe(self, channel: str, receive: Receive, lost: Lost, confirm: Confirm = ignore) -> Unsubscribe:
        self.lost = lost
        return super().subscribe(channel, receive, lost)


async def test_a_revocation_reaches_every_process() -> None:
    broadcast = LocalBroadcast()
    here, there = CachedValidator(FakeIdentity()), CachedValidator(FakeIdentity())
    revocations = [Revocations(here, broadcast), Revocations(there, broadcast)]
    for process in revocations:
        await process.start()
    await here.resolve(b"alice")
    await there.resolve(b"alice")

    assert await revocations[0].revoke(Revocation.of_token("alice")) == 1

    assert here.known(b"alice") is None
    assert await there.resolve(b"alice") == Rejected("token_revoked")


async def test_a_closed_one_hears_no_more() -> None:
    broadcast = LocalBroadcast()
    validator = CachedValidator(FakeIdentity())
    revocations = Revocations(validator, broadcast)
    await revocations.start()
    await validator.resolve(b"alice")

    await revocations.close()
    await revocations.close()
    await broadcast.publish(CHANNEL, Revocation(user_id="u1").payload())

    assert validator.known(b"alice") is not None


async def test_where_the_others_cannot_be_told_it_is_done_here_and_said() -> None:
    validator = CachedValidator(FakeIdentity())
    revocations = Revocations(validator, Unreachable())
    await validator.resolve(b"alice")

    with pytest.raises(OSError, match="no server"):
        await revocations.revoke(Revocation(user_id="u1"))

    assert validator.known(b"alice") is None


async def test_when_messages_may_have_been_missed_every_token_is_asked_about_anew() -> None:
    identity, broadcast = FakeIdentity(), Unreachable()
    validator = CachedValidator(identity)
    await Revocations(validator, broadcast).start()
    await validator.resolve(b"alice")

    broadcast.lost()

    assert validator.known(b"alice") is None
    assert isinstance(await validator.resolve(b"alice"), Identity)
    assert identity.asked == {b"alice": 2}


async def test_a_message_that_cannot_be_read_makes_every_token_be_asked_about() -> None:
    broadcast = LocalBroadcast()
    validator = CachedValidator(FakeIdentity())
    await Revocations(validator, broadcast).start()
    await validator.resolve(b"alice")

    await broadcast.publish(CHANNEL, b'{"of_a_newer_version": "x"}')

    assert validator.known(b"alice") is None
