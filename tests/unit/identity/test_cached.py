"""The token cache in front of a validator."""

import asyncio
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from metaproxy.exchange import Identity
from metaproxy.identity.cached import CachedValidator
from metaproxy.identity.revocation import Revocation
from metaproxy.identity.troubles import IdentityUnavailable, Trouble
from metaproxy.identity.validator import Rejected, TokenRejected
from metaproxy.telemetry.metrics import Metrics
from tests.identities import ALICE, NOW, FakeClock, FakeIdentity

DOWN = IdentityUnavailable(Trouble.UNREACHABLE)


class Room:
    """A cache of 100 s (grace 50 s, rejections 10 s), the identity behind it, and their clocks."""

    def __init__(self, **arguments: Any) -> None:
        self.identity = FakeIdentity()
        self.monotonic, self.wall = FakeClock(), FakeClock(NOW)
        self.metrics = Metrics()
        defaults: dict[str, Any] = {
            "ttl": 100.0,
            "negative_ttl": 10.0,
            "stale_if_unavailable": 50.0,
            "jitter": 0,
        }
        self.validator = CachedValidator(
            self.identity,
            metrics=self.metrics,
            monotonic=self.monotonic,
            wall=self.wall,
            **(defaults | {"probe_interval": 3600.0} | arguments),
        )

    def pass_time(self, seconds: float) -> None:
        self.monotonic.now += seconds
        self.wall.now += seconds

    def lookups(self) -> dict[str, float]:
        counter = self.metrics.counter("metaproxy_token_cache_lookups", "")
        return {labels[0]: value for labels, value in counter.values.items() if value}


async def test_a_known_token_is_not_asked_about_again() -> None:
    room = Room()
    assert room.validator.known(b"alice") is None

    await room.validator.resolve(b"alice")
    room.pass_time(99)

    known = room.validator.known(b"alice")
    assert isinstance(known, Identity)
    assert known.user_id == "u1"
    assert room.identity.asked == {b"alice": 1}
    assert room.lookups() == {"miss": 1, "hit": 1}


async def test_an_identity_comes_with_its_headers_rendered_and_a_digest_but_no_token() -> None:
    room = Room()

    identity = await room.validator.validate(b"alice")

    assert (b"x-user-id", b"u1") in identity.header_pairs
    assert identity.token_digest
    assert b"alice" not in identity.token_digest


async def test_a_token_is_asked_about_again_after_its_ttl() -> None:
    room = Room()
    await room.validator.resolve(b"alice")

    room.pass_time(100)

    assert room.validator.known(b"alice") is None
    await room.validator.resolve(b"alice")
    assert room.identity.asked == {b"alice": 2}


async def test_chance_shortens_the_ttl_by_no_more_than_the_jitter() -> None:
    room = Room(jitter=0.1, chance=lambda: 1.0)
    await room.validator.resolve(b"alice")

    room.pass_time(89)
    assert room.validator.known(b"alice") is not None
    room.pass_time(1)
    assert room.validator.known(b"alice") is None


async def test_a_token_is_never_known_past_its_own_expiry() -> None:
    room = Room()
    room.identity.identities = {b"alice": replace(ALICE, expires_at=NOW + 5)}
    await room.validator.resolve(b"alice")

    room.pass_time(5)

    assert room.validator.known(b"alice") is None


async def test_a_machine_that_slept_does_not_lengthen_a_tokens_life() -> None:
    room = Room()
    room.identity.identities = {b"alice": replace(ALICE, expires_at=NOW + 50)}
    await room.validator.resolve(b"alice")

    room.wall.now += 3600

    assert room.validator.known(b"alice") is None


async def test_a_token_without_an_expiry_is_kept_for_its_ttl() -> None:
    room = Room()
    await room.validator.resolve(b"alice")

    room.wall.now += 10**9

    assert room.validator.known(b"alice") is not None


async def test_a_rejected_token_is_not_asked_about_within_negative_ttl() -> None:
    room = Room()
    assert await room.validator.resolve(b"mallory") == Rejected("token_unknown")

    room.pass_time(9)
    assert room.validator.known(b"mallory") == Rejected("token_unknown")
    assert room.identity.asked == {b"mallory": 1}

    room.pass_time(1)
    assert room.validator.known(b"mallory") is None
    assert room.lookups() == {"miss": 1, "negative_hit": 1}


async def test_a_negative_ttl_of_nothing_asks_every_time() -> None:
    room = Room(negative_ttl=0.0)

    for _ in range(2):
        assert await room.validator.resolve(b"mallory") == Rejected("token_unknown")

    assert room.identity.asked == {b"mallory": 2}


async def test_a_ttl_of_nothing_asks_every_time() -> None:
    room = Room(ttl=0.0)

    for _ in range(2):
        assert isinstance(await room.validator.resolve(b"alice"), Identity)

    assert room.identity.asked == {b"alice": 2}


async def test_the_validator_interface_raises_for_a_rejected_token() -> None:
    with pytest.raises(TokenRejected):
        await Room().validator.validate(b"mallory")


async def test_a_thousand_requests_with_one_new_token_make_one_validation() -> None:
    room = Room()
    room.identity.gate = asyncio.Event()
    waiting = [asyncio.ensure_future(room.validator.resolve(b"alice")) for _ in range(1000)]
    await asyncio.sleep(0)

    room.identity.gate.set()
    verdicts = await asyncio.gather(*waiting)

    assert room.identity.asked == {b"alice": 1}
    assert {verdict.user_id for verdict in verdicts if isinstance(verdict, Identity)} == {"u1"}
    assert len(verdicts) == 1000


async def test_a_thousand_bad_tokens_are_asked_about_once_each_and_bounded() -> None:
    room = Room(max_entries=500)
    tokens = [b"bad-%d" % number for number in range(1000)]

    await asyncio.gather(*(room.validator.resolve(token) for token in tokens for _ in range(2)))
    assert room.identity.asked == Counter(tokens)

    for token in tokens[-500:]:
        assert room.validator.known(token) == Rejected("token_unknown")
    (family,) = [f for f in room.metrics.collect() if f.name == "metaproxy_token_cache_entries"]
    assert {sample.labels["kind"]: sample.value for sample in family.samples} == {"valid": 0, "rejected": 500}


async def test_how_much_is_held_is_told() -> None:
    room = Room()
    await room.validator.resolve(b"alice")
    await room.validator.resolve(b"mallory")

    assert room.validator.entries() == [(("valid",), 1), (("rejected",), 1)]


async def test_bad_tokens_do_not_push_out_good_ones() -> None:
    room = Room(max_entries=10)
    await room.validator.resolve(b"alice")

    for number in range(100):
        await room.validator.resolve(b"bad-%d" % number)

    assert room.validator.known(b"alice") is not None


async def test_validations_under_way_are_bounded() -> None:
    room = Room(max_validations=2)
    room.identity.gate = asyncio.Event()
    waiting = [asyncio.ensure_future(room.validator.resolve(b"t%d" % number)) for number in range(2)]
    await asyncio.sleep(0)

    with pytest.raises(IdentityUnavailable) as error:
        await room.validator.resolve(b"t3")

    assert error.value.trouble is Trouble.BUSY
    room.identity.gate.set()
    await asyncio.gather(*waiting)
    assert isinstance(await room.validator.resolve(b"t3"), Rejected)


async def test_the_first_clients_hanging_up_does_not_end_the_others_wait() -> None:
    room = Room()
    room.identity.gate = asyncio.Event()
    first, second = (asyncio.ensure_future(room.validator.resolve(b"alice")) for _ in range(2))
    await asyncio.sleep(0)

    first.cancel()
    await asyncio.sleep(0)
    room.identity.gate.set()

    assert isinstance(await second, Identity)
    assert first.cancelled()
    assert room.identity.asked == {b"alice": 1}


async def test_while_identity_is_down_an_earlier_verdict_goes_on_for_the_grace() -> None:
    room = Room()
    await room.validator.resolve(b"alice")
    room.identity.trouble = DOWN

    room.pass_time(149)
    assert isinstance(await room.validator.resolve(b"alice"), Identity)
    room.pass_time(1)
    with pytest.raises(IdentityUnavailable):
        await room.validator.resolve(b"alice")
    assert room.lookups()["stale"] == 1
    await room.validator.close()


async def test_within_the_grace_identity_is_asked_now_and_then_not_with_every_request() -> None:
    room = Room()
    await room.validator.resolve(b"alice")
    room.identity.trouble = DOWN
    room.pass_time(100)

    for _ in range(10):
        assert isinstance(await room.validator.resolve(b"alice"), Identity)
    assert room.identity.asked[b"alice"] == 2

    room.pass_time(1)
    await room.validator.resolve(b"alice")
    await asyncio.sleep(0)
    assert room.identity.asked[b"alice"] == 3
    await room.validator.close()


async def test_nobody_waits_for_an_identity_that_is_known_to_fail() -> None:
    room = Room()
    await room.validator.resolve(b"alice")
    room.identity.trouble = DOWN
    with pytest.raises(IdentityUnavailable):
        await room.validator.resolve(b"bob")
    room.identity.gate = asyncio.Event()
    room.pass_time(100)

    assert isinstance(await room.validator.resolve(b"alice"), Identity)
    await asyncio.sleep(0)

    assert room.identity.asked[b"alice"] == 2
    room.identity.trouble, room.identity.identities = None, {}
    room.identity.gate.set()
    while room.validator.known(b"alice") != Rejected("token_unknown"):
        await asyncio.sleep(0)
    await room.validator.close()


async def test_an_earlier_verdict_serves_where_too_many_validations_are_under_way() -> None:
    room = Room(max_validations=1)
    await room.validator.resolve(b"alice")
    room.identity.gate = asyncio.Event()
    waiting = asyncio.ensure_future(room.validator.resolve(b"bob"))
    await asyncio.sleep(0)
    room.pass_time(100)

    assert isinstance(await room.validator.resolve(b"alice"), Identity)

    room.identity.gate.set()
    await waiting


async def test_the_grace_never_goes_past_the_tokens_expiry() -> None:
    room = Room()
    room.identity.identities = {b"alice": replace(ALICE, expires_at=NOW + 120)}
    await room.validator.resolve(b"alice")
    room.identity.trouble = DOWN

    room.pass_time(119)
    assert isinstance(await room.validator.resolve(b"alice"), Identity)
    room.pass_time(1)
    with pytest.raises(IdentityUnavailable):
        await room.validator.resolve(b"alice")
    await room.validator.close()


async def test_a_token_never_seen_is_refused_while_identity_is_down() -> None:
    room = Room()
    room.identity.trouble = IdentityUnavailable(Trouble.OVERLOADED, retry_after=9)

    with pytest.raises(IdentityUnavailable) as error:
        await room.validator.resolve(b"alice")

    assert (error.value.trouble, error.value.retry_after) == (Trouble.OVERLOADED, 9)
    await room.validator.close()


async def test_a_token_that_identity_no_longer_knows_ends_in_spite_of_the_grace() -> None:
    room = Room()
    await room.validator.resolve(b"alice")
    room.identity.identities = {}

    room.pass_time(100)

    assert await room.validator.resolve(b"alice") == Rejected("token_unknown")
    assert room.validator.known(b"alice") == Rejected("token_unknown")


async def test_health_tells_of_an_outage_and_of_its_end_without_any_request() -> None:
    room = Room(probe_interval=0.0)
    room.identity.trouble = DOWN
    with pytest.raises(IdentityUnavailable):
        await room.validator.resolve(b"alice")
    assert (room.validator.health.available, room.validator.health.trouble) == (False, "unreachable")

    room.identity.trouble = None
    while not room.validator.health.available:
        await asyncio.sleep(0)

    assert room.validator.health.trouble == ""
    await room.validator.close()


async def test_a_start_without_identity_is_noted_and_not_fatal() -> None:
    class Absent(FakeIdentity):
        async def start(self) -> None:
            raise DOWN

    validator = CachedValidator(Absent(), probe_interval=3600.0)

    await validator.start()

    assert not validator.health.available
    await validator.close()


async def test_an_expired_token_let_through_once_is_not_known_otherwise() -> None:
    room = Room()
    room.identity.expired = (b"alice",)

    allowed = await room.validator.resolve(b"alice", allow_expired=True)

    assert isinstance(allowed, Identity)
    assert room.validator.known(b"alice", allow_expired=True) is not None
    assert room.validator.known(b"alice") is None
    assert await room.validator.resolve(b"alice") == Rejected("token_unknown")


async def test_an_expired_token_let_through_is_kept_for_its_ttl() -> None:
    room = Room()
    room.identity.identities = {b"alice": replace(ALICE, expires_at=NOW - 10)}

    await room.validator.resolve(b"alice", allow_expired=True)
    assert room.validator.known(b"alice", allow_expired=True) is not None

    room.pass_time(100)
    assert room.validator.known(b"alice", allow_expired=True) is None


async def test_a_revoked_token_is_rejected_even_where_identity_has_not_heard_of_it() -> None:
    room = Room()
    await room.validator.resolve(b"alice")

    assert room.validator.revoke(Revocation.of_token("alice")) == 1

    assert room.validator.known(b"alice") is None
    assert await room.validator.resolve(b"alice") == Rejected("token_revoked")


async def test_a_users_tokens_are_asked_about_anew_when_they_are_revoked() -> None:
    room = Room()
    await room.validator.resolve(b"alice")

    assert room.validator.revoke(Revocation(user_id="u1")) == 1

    assert room.validator.known(b"alice") is None
    assert isinstance(await room.validator.resolve(b"alice"), Identity)
    assert room.identity.asked == {b"alice": 2}


async def test_a_verdict_that_was_under_way_during_a_revocation_is_not_kept() -> None:
    room = Room()
    room.identity.gate = asyncio.Event()
    waiting = asyncio.ensure_future(room.validator.resolve(b"alice"))
    while not room.identity.asked:
        await asyncio.sleep(0)

    room.validator.revoke(Revocation(user_id="u1"))
    room.identity.gate.set()
    await waiting

    assert room.validator.known(b"alice") is None


async def test_doubt_makes_every_token_be_asked_about_but_keeps_the_grace() -> None:
    room = Room()
    await room.validator.resolve(b"alice")

    room.validator.doubt()
    assert room.validator.known(b"alice") is None

    room.identity.trouble = DOWN
    assert isinstance(await room.validator.resolve(b"alice"), Identity)
    await room.validator.close()


async def test_a_defect_of_the_validator_reaches_those_who_wait() -> None:
    class Broken(FakeIdentity):
        async def validate(self, token: bytes, *, allow_expired: bool = False) -> Identity:
            raise RuntimeError("a defect")

    with pytest.raises(RuntimeError):
        await CachedValidator(Broken()).resolve(b"alice")
