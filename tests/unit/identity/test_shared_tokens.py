"""Tokens that one replica has validated, at another one."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from metaproxy.exchange import Assignment, Identity
from metaproxy.identity import stored_identity
from metaproxy.identity.digests import fingerprint
from metaproxy.identity.revocation import MARGIN_SECONDS, Revocation
from metaproxy.identity.sealing import Sealer
from metaproxy.identity.shared_tokens import MAX_BYTES, USE
from metaproxy.identity.troubles import IdentityUnavailable, Trouble
from metaproxy.identity.validator import Rejected
from metaproxy.protocol.credential_rules import CredentialRule
from metaproxy.store.values import Reading
from tests.identities import ALICE, NOW, FakeClock
from tests.unit.identity.sharing_replicas import KEY, KNOWN, LIFE, OTHER_KEY, TOKEN, World


async def validated_world(**tokens: Identity) -> World:
    """Return a world in which one replica has validated the token."""
    world = World(**tokens)
    await world.replica().resolve()
    return world


async def test_identity_is_asked_once_for_all_replicas() -> None:
    world = World()
    replicas = [world.replica() for _ in range(3)]

    identities = [await replica.resolve() for replica in replicas]

    assert [identity.user_id for identity in identities] == ["u1"] * 3
    assert world.asked == 1
    assert [replica.look_ups for replica in replicas] == [{"absent": 1}, {"found": 1}, {"found": 1}]
    assert replicas[0].writes == {"stored": 1}


async def test_a_token_that_was_found_is_known_and_not_looked_up_again() -> None:
    world = await validated_world()
    other = world.replica()

    for _ in range(3):
        await other.resolve()

    assert other.look_ups == {"found": 1}


async def test_everything_that_identity_said_is_shared() -> None:
    said = replace(
        KNOWN,
        access_rules=(CredentialRule("GET", "/v2.1/servers"),),
        assignments=(Assignment("member", "p1"), Assignment("reader", "")),
        impersonator_assignments=(Assignment("support", ""),),
        groups=(("g1", 1.0), ("g2", 0.5)),
        tenant_ids=("p1", "p2"),
        is_admin_project=False,
        roles_are_global=True,
        catalog=b'[{"type": "compute"}]',
        extra={"token_expires": "2027-01-15T09:00:00Z", "default_region": "ORD"},
    )
    world = World(alice=said)
    first, second = world.replica(), world.replica()

    own, found = await first.resolve(), await second.resolve()

    differing = {"token_digest": b""}
    assert replace(found, **differing) == replace(own, **differing)
    assert found.access_rules == said.access_rules
    assert found.header_pairs == own.header_pairs


@pytest.mark.parametrize("rules", [None, ()])
async def test_no_rules_and_rules_that_allow_nothing_stay_apart(rules: tuple[()] | None) -> None:
    world = await validated_world(alice=replace(KNOWN, access_rules=rules))

    found = await world.replica().resolve()

    assert found.access_rules == rules
    assert world.asked == 1


async def test_a_token_never_lives_longer_than_the_ttl_since_identity_was_asked() -> None:
    world = await validated_world()
    world.pass_time(60)
    second = world.replica()
    await second.resolve()

    world.pass_time(39)
    known = second.validator.known(TOKEN)
    world.pass_time(1)

    assert known is not None
    assert second.validator.known(TOKEN) is None
    await second.resolve()
    assert (second.look_ups, world.asked) == ({"found": 1, "too_old": 1}, 2)


async def test_a_replica_with_a_shorter_ttl_asks_earlier() -> None:
    world = await validated_world()
    world.pass_time(50)

    await world.replica(ttl=50.0).resolve()

    assert world.asked == 2


async def test_a_store_that_hands_an_old_value_out_again_lengthens_nothing() -> None:
    world = await validated_world()
    stored = world.store.only
    world.pass_time(101)
    world.store.change(stored)

    await world.replica().resolve()

    assert world.asked == 2


async def test_a_token_is_not_found_past_its_own_expiry() -> None:
    world = await validated_world(alice=replace(KNOWN, expires_at=NOW + 5))
    world.pass_time(5)
    second = world.replica()

    await second.resolve()

    assert second.look_ups == {"too_old": 1}


async def test_the_store_keeps_a_value_as_long_as_it_counts_and_no_longer() -> None:
    world = World(alice=replace(KNOWN, expires_at=NOW + 30), bob=replace(KNOWN, expires_at=NOW + 3000))
    replica = world.replica()

    await replica.resolve(b"alice")
    await replica.resolve(b"bob")

    assert sorted(world.store.seconds.values()) == [30.0, 100.0]


async def test_the_time_that_identity_took_counts() -> None:
    world = World()
    world.identity.gate = asyncio.Event()
    replica = world.replica()
    asking = asyncio.ensure_future(replica.resolve())
    while not world.asked:
        await asyncio.sleep(0)
    world.pass_time(40)
    world.identity.gate.set()
    await asking
    seconds = dict(world.store.seconds)
    world.pass_time(60)

    await world.replica().resolve()

    assert list(seconds.values()) == [60.0]
    assert world.asked == 2


async def test_jitter_has_one_replica_ask_before_the_value_ends() -> None:
    world = await validated_world()
    world.pass_time(95)

    early = world.replica(jitter=0.1, chance=lambda: 1.0)
    await early.resolve()
    late = world.replica(jitter=0.1, chance=lambda: 0.0)
    await late.resolve()

    assert (early.look_ups, late.look_ups) == ({"too_old": 1}, {"found": 1})
    assert world.asked == 2


async def test_a_rejected_token_is_not_shared() -> None:
    world = World()

    verdicts = [await world.replica().resolve(b"mallory") for _ in range(2)]

    assert verdicts == [Rejected("token_unknown")] * 2
    assert (world.asked, world.store.values) == (2, {})


async def test_no_verdict_is_not_shared() -> None:
    world = World()
    world.identity.trouble = IdentityUnavailable(Trouble.UNREACHABLE)

    with pytest.raises(IdentityUnavailable):
        await world.replica().resolve()

    assert world.store.values == {}


async def test_while_identity_fails_a_replica_that_starts_knows_what_others_have_validated() -> None:
    world = await validated_world()
    world.identity.trouble = IdentityUnavailable(Trouble.UNREACHABLE)

    found = await world.replica().resolve()

    assert isinstance(found, Identity)


async def test_many_requests_look_a_token_up_once() -> None:
    world = await validated_world()
    second, before = world.replica(), world.store.reads

    await asyncio.gather(*(second.resolve() for _ in range(20)))

    assert world.store.reads == before + 1


async def test_a_token_past_its_expiry_is_shared_among_those_who_may_be_expired_alone() -> None:
    world = World(alice=replace(KNOWN, expires_at=NOW - 1))
    first, second = world.replica(), world.replica()

    await first.resolve(allow_expired=True)
    found = await second.resolve(allow_expired=True)
    asked = world.asked
    await second.resolve()

    assert isinstance(found, Identity)
    assert (asked, world.asked) == (1, 2)
    assert second.look_ups == {"found": 1, "absent": 1}


# What the operator or identity revokes


async def test_a_revoked_token_is_rejected_although_its_value_is_handed_out() -> None:
    world = World()
    first, second = world.replica(), world.replica()
    await first.resolve()
    world.pass_time(10)

    second.validator.revoke(Revocation.of_token("alice"))

    assert await second.resolve() == Rejected("token_revoked")


@pytest.mark.parametrize(
    "revocation",
    [
        Revocation(user_id="u1"),
        Revocation(project_id="p1"),
        Revocation(domain_id="d1"),
        Revocation(user_id="u1", project_id="p1"),
        Revocation(audit_chain_id="audit-0", user_id="u1"),
    ],
)
@pytest.mark.parametrize("by", ["operator", "identity", "record"])
async def test_what_was_validated_before_a_revocation_counts_no_more(revocation: Revocation, by: str) -> None:
    world = await validated_world(alice=replace(KNOWN, user_domain_id="d1"))
    world.pass_time(10)
    second = world.replica()

    match by:
        case "operator":
            second.validator.revoke(revocation)
        case "identity":
            second.validator.revoked_by_identity(revocation)
        case "record":
            second.validator.revoke(revocation, age=5.0)
    await second.resolve()

    assert (second.look_ups, world.asked) == ({"revoked": 1}, 2)


async def test_what_was_validated_after_a_revocation_counts() -> None:
    world = World()
    first, second, third = world.replica(), world.replica(), world.replica()
    for replica in (first, second, third):
        replica.validator.revoke(Revocation(user_id="u1"))
    world.pass_time(MARGIN_SECONDS + 0.1)

    for replica in (first, second, third):
        await replica.resolve()

    assert world.asked == 1


async def test_a_revocation_of_others_touches_no_value() -> None:
    world = await validated_world()
    world.pass_time(10)
    second = world.replica()
    for revocation in (Revocation(user_id="u2"), Revocation(project_id="p2"), Revocation(audit_id="x")):
        second.validator.revoke(revocation)

    await second.resolve()

    assert world.asked == 1


async def test_doubt_lets_nothing_count_that_was_validated_before() -> None:
    world = await validated_world()
    world.pass_time(10)
    second = world.replica()

    second.validator.doubt()
    await second.resolve()
    world.pass_time(MARGIN_SECONDS + 0.1)
    await world.replica().resolve()

    assert (second.look_ups, world.asked) == ({"revoked": 1}, 2)


async def test_a_token_that_was_revoked_while_it_was_looked_up_is_asked_about() -> None:
    world = await validated_world()
    world.pass_time(10)
    second = world.replica()
    read = world.store.read

    async def read_late(names: Sequence[str]) -> Reading:
        reading = await read(names)
        second.validator.revoke(Revocation(user_id="u1"))
        return reading

    world.store.read = read_late  # type: ignore[method-assign] # a store that is late
    await second.resolve()

    assert world.asked == 2


async def test_a_token_that_was_revoked_while_identity_was_asked_is_not_stored() -> None:
    world = World()
    world.identity.gate = asyncio.Event()
    replica = world.replica()
    asking = asyncio.ensure_future(replica.resolve())
    while not world.asked:
        await asyncio.sleep(0)

    replica.validator.revoke(Revocation(user_id="u1"))
    world.identity.gate.set()
    await asking

    assert world.store.values == {}


async def test_a_token_that_identity_accepts_and_the_operator_has_revoked_is_not_stored() -> None:
    world = World()
    replica = world.replica()
    replica.validator.revoke(Revocation.of_token("alice"))

    assert await replica.resolve() == Rejected("token_revoked")
    assert world.store.values == {}


async def test_a_token_that_identity_rejects_is_removed_from_the_store() -> None:
    world = await validated_world()
    world.identity.identities = {}
    world.pass_time(10)
    second = world.replica()
    second.validator.revoke(Revocation(user_id="u1"))

    verdict = await second.resolve()

    assert verdict == Rejected("token_unknown")
    assert world.store.values == {}


async def test_revocations_that_are_too_many_void_everything_that_is_as_old() -> None:
    world = await validated_world()
    world.pass_time(10)
    second = world.replica()
    second.validator.revoke(Revocation(user_id="u1"))
    for number in range(10_001):
        second.validator.revoked_by_identity(Revocation(user_id=f"other-{number}"))

    await second.resolve()

    assert world.asked == 2


# Who knows what was revoked


async def test_a_replica_that_is_not_in_touch_neither_reads_nor_writes() -> None:
    world = await validated_world()
    stored = dict(world.store.values)
    second, reads = world.replica(is_in_touch=False), world.store.reads

    await second.resolve()

    assert (world.store.reads, world.store.values, world.asked) == (reads, stored, 2)
    assert second.look_ups == {"not_in_touch": 1}


async def test_a_replica_that_lost_touch_while_it_looked_up_asks_identity() -> None:
    world = await validated_world()
    second = world.replica()
    read = world.store.read

    async def lose_touch(names: Sequence[str]) -> Reading:
        second.shared.distrust()
        return await read(names)

    world.store.read = lose_touch  # type: ignore[method-assign] # a store that breaks off
    await second.resolve()

    assert (second.look_ups, world.asked) == ({"not_in_touch": 1}, 2)


async def test_a_value_from_another_life_of_the_store_is_not_believed() -> None:
    world = await validated_world()
    second = world.replica(life=b"mark:1 run-2")

    await second.resolve()

    assert (second.look_ups, world.asked) == ({"unreadable": 1}, 2)


async def test_nothing_is_used_until_the_events_of_identity_are_known() -> None:
    world = await validated_world()
    early, late = world.replica(needs_events=True), world.replica(needs_events=True)

    await early.resolve()
    late.shared.know_events()
    await late.resolve()

    assert (early.look_ups, late.look_ups) == ({"not_in_touch": 1}, {"found": 1})


# Clocks


@pytest.mark.parametrize("seconds", [-30.0, 30.0])
async def test_a_value_of_a_replica_whose_clock_is_wrong_is_not_believed(seconds: float) -> None:
    world = World()
    await world.replica(wall=FakeClock(NOW + seconds)).resolve()
    second = world.replica()

    await second.resolve()

    assert (second.look_ups, world.asked) == ({"clocks_differ": 1}, 2)


@pytest.mark.parametrize("seconds", [-1.5, 1.5])
async def test_clocks_may_differ_a_little_and_the_ttl_holds_all_the_same(seconds: float) -> None:
    world = World()
    await world.replica(wall=FakeClock(NOW + seconds)).resolve()
    world.pass_time(50)
    second = world.replica()
    await second.resolve()
    world.pass_time(50)

    assert world.asked == 1
    assert second.validator.known(TOKEN) is None


@pytest.mark.parametrize("lie", [-1000.0, -1.0, 1.0, 1000.0, 1e300])
async def test_a_store_that_lies_about_the_time_lengthens_nothing(lie: float) -> None:
    world = await validated_world()
    world.pass_time(100)
    world.store.clock.now += lie

    await world.replica().resolve()

    assert world.asked == 2


# Keys and settings


async def test_a_store_holds_neither_the_token_nor_its_hash_nor_anything_of_its_owner() -> None:
    world = await validated_world()

    (name,), value = world.store.values, world.store.only
    for secret in (TOKEN, fingerprint(TOKEN), b"u1", b"p1", b"member", KEY):
        assert secret not in value
        assert secret.hex() not in name
        assert secret not in name.encode()


async def test_the_same_verdict_never_looks_the_same_twice() -> None:
    world = await validated_world()
    first = world.store.only
    world.store.values.clear()

    await world.replica().resolve()

    assert world.store.only != first


async def test_keys_can_be_changed_one_replica_after_the_other() -> None:
    world = World()
    await world.replica(KEY).resolve()

    knows_both = world.replica(KEY, OTHER_KEY)
    seals_with_the_new = world.replica(OTHER_KEY, KEY)
    await knows_both.resolve()
    await seals_with_the_new.resolve()
    world.store.values.clear()
    await world.replica(OTHER_KEY, KEY).resolve()
    await world.replica(KEY, OTHER_KEY).resolve()
    await world.replica(OTHER_KEY).resolve()

    assert world.asked == 2


async def test_a_replica_with_another_key_asks_identity() -> None:
    world = World()
    await world.replica(KEY).resolve()

    await world.replica(OTHER_KEY).resolve()

    assert world.asked == 2


async def test_a_replica_with_other_settings_of_identity_asks_its_own() -> None:
    world = World()
    await world.replica(settings=b"a" * 32).resolve()

    await world.replica(settings=b"b" * 32).resolve()

    assert world.asked == 2
    assert len(world.store.values) == 2


# A store that does harm


async def test_a_value_moved_to_the_name_of_another_token_opens_nothing() -> None:
    world = World(alice=KNOWN, mallory=replace(KNOWN, user_id="u2"))
    first = world.replica()
    await first.resolve(b"alice")
    of_alice = world.store.only
    await first.resolve(b"mallory")
    world.store.change(of_alice)
    second = world.replica()

    verdict = await second.resolve(b"mallory")

    assert verdict.user_id == "u2"
    assert second.look_ups == {"unreadable": 1}


def damaged(value: bytes) -> dict[str, bytes]:
    forged = Sealer([OTHER_KEY], b"s" * 32).seals(TOKEN, USE)[0]
    return {
        "empty": b"",
        "one byte": b"\x01",
        "cut off": value[:-1],
        "its head alone": value[:29],
        "longer": value + b"\0",
        "another version": b"\x02" + value[1:],
        "another nonce": value[:1] + bytes(12) + value[13:],
        "another tag": value[:-1] + bytes([value[-1] ^ 1]),
        "another text": value[:20] + bytes([value[20] ^ 1]) + value[21:],
        "sealed with another key": forged.seal(stored_identity.encode(ALICE), LIFE),
        "oversized": value + bytes(MAX_BYTES),
        "not sealed": stored_identity.encode(ALICE),
    }


@pytest.mark.parametrize("kind", damaged(bytes(100)))
async def test_a_damaged_value_counts_as_absent_and_is_counted_and_replaced(kind: str) -> None:
    world = await validated_world()
    intact = world.store.only
    world.store.change(damaged(intact)[kind])
    second = world.replica()

    with capture_logs() as logs:
        verdict = await second.resolve()

    assert verdict.user_id == "u1"
    assert second.look_ups == {"unreadable": 1}
    assert [line["reason"] for line in logs] == ["unreadable"]
    await world.replica().resolve()
    assert world.asked == 2


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00",
        msgspec.msgpack.encode((1.0, 2.0)),
        msgspec.msgpack.encode((NOW, NOW, b"")),
        msgspec.msgpack.encode((NOW, NOW, stored_identity.encode(KNOWN)[:-1])),
        msgspec.msgpack.encode((float("nan"), NOW, stored_identity.encode(KNOWN))),
        msgspec.msgpack.encode((NOW, float("inf"), stored_identity.encode(KNOWN))),
        msgspec.msgpack.encode((NOW, NOW, stored_identity.encode(replace(KNOWN, expires_at=float("nan"))))),
    ],
)
async def test_a_sealed_value_of_another_form_counts_as_absent(content: bytes) -> None:
    world = await validated_world()
    seal = Sealer([KEY], b"s" * 32).seals(TOKEN, USE)[0]
    world.store.change(seal.seal(content, LIFE))
    second = world.replica()

    await second.resolve()

    assert (second.look_ups, world.asked) == ({"unreadable": 1}, 2)


async def test_unusable_values_are_logged_once_and_counted_each_time() -> None:
    world = World()
    second = world.replica()

    with capture_logs() as logs:
        for _ in range(5):
            await world.replica().resolve()
            world.store.change(b"nonsense")
            second.validator.doubt()
            await second.resolve()

    assert sum(line["log_level"] == "warning" for line in logs) == 1
    assert second.look_ups == {"unreadable": 5}


async def test_a_store_that_is_away_costs_a_look_up_and_no_error() -> None:
    world = World()
    world.store.failing = True
    replica = world.replica()

    assert isinstance(await replica.resolve(), Identity)
    assert replica.look_ups == {"unavailable": 1}


async def test_a_store_that_takes_no_value_costs_nothing() -> None:
    world = World()
    replica = world.replica()

    async def refuse(name: str, value: bytes, seconds: float) -> None:
        raise ConnectionError("out of memory")

    world.store.write = refuse  # type: ignore[method-assign] # a store that is full
    assert isinstance(await replica.resolve(), Identity)
    assert replica.writes == {"not_stored": 1}


class NeverAnswers:
    """A store that answers nothing, or raises what nobody expects."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    async def read(self, names: Sequence[str]) -> Reading:
        if self.error is not None:
            raise self.error
        await asyncio.Event().wait()
        raise AssertionError("never")

    async def write(self, name: str, value: bytes, seconds: float) -> None:
        raise AssertionError("nothing was looked up")

    async def remove(self, names: Sequence[str]) -> None:
        raise AssertionError("nothing was looked up")


async def test_a_store_that_does_not_answer_holds_a_request_for_its_timeout() -> None:
    world = World()
    replica = world.replica(values=NeverAnswers(), timeout=0.01)

    async with asyncio.timeout(20):
        verdict = await replica.validator.resolve(TOKEN)

    assert isinstance(verdict, Identity)
    assert replica.look_ups == {"unavailable": 1}
    await replica.validator.close()


async def test_a_defect_in_the_store_is_no_error_of_the_request() -> None:
    world = World()
    replica = world.replica(values=NeverAnswers(RuntimeError("a defect")))

    assert isinstance(await replica.resolve(), Identity)
    assert replica.look_ups == {"unavailable": 1}


@pytest.mark.parametrize(
    ("changes", "result"),
    [({"catalog": bytes(MAX_BYTES)}, "too_large"), ({"user_name": "\ud800"}, "not_stored")],
)
async def test_an_identity_that_cannot_be_stored_is_not_shared(changes: Any, result: str) -> None:
    world = World(alice=replace(KNOWN, **changes))
    replica = world.replica()

    assert isinstance(await replica.resolve(), Identity)
    assert (replica.writes, world.store.values) == ({result: 1}, {})
