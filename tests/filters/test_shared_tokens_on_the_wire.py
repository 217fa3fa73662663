"""Shared tokens through whole lines, with a real Redis and a Keystone on a socket."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from metaproxy.identity.revocation import Revocation
from tests.filters.sharing_line import KEY, OTHER_KEY, V2, V3, Keystone, Line, lines, statuses, undisturbed
from tests.forwarder import Forwarder
from tests.redis_server import RedisServer

pytestmark = pytest.mark.redis

TOKENS = [f"token-{number}" for number in range(30)]


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
async def keystone() -> AsyncIterator[Keystone]:
    keystone = Keystone()
    async with keystone.served():
        yield keystone


@undisturbed
async def test_a_rolling_restart_asks_keystone_for_each_token_once(
    redis: RedisServer, keystone: Keystone, tmp_path: Path
) -> None:
    async with lines(tmp_path, keystone.origin, redis.url, 3) as replicas:
        for restarting in replicas:
            assert [await statuses(line, TOKENS) for line in replicas] == [{200}] * 3
            await restarting.stop()
            await restarting.start(KEY)

        assert [await statuses(line, TOKENS) for line in replicas] == [{200}] * 3
        assert keystone.questions == len(TOKENS)


@pytest.mark.parametrize("provider", [V3, V2])
@undisturbed
async def test_both_versions_of_identity_are_shared_with_all_that_the_upstream_is_told(
    redis: RedisServer, keystone: Keystone, tmp_path: Path, provider: str
) -> None:
    async with lines(tmp_path, keystone.origin, redis.url, 2) as replicas:
        for line in replicas:
            await line.start(KEY, provider=provider)
            assert await line.status("alice") == 200

        assert keystone.questions == 1
        assert replicas[1].compute.fields == replicas[0].compute.fields
        assert replicas[1].compute.fields[b"x-user-id"] == b"user-alice"


@undisturbed
async def test_access_rules_hold_for_a_token_that_another_replica_has_validated(
    redis: RedisServer, keystone: Keystone, tmp_path: Path
) -> None:
    async with lines(tmp_path, keystone.origin, redis.url, 2) as replicas:
        for line in replicas:
            for _ in range(2):
                assert await line.status("rules-1", "/v2.1/p1/allowed") == 200
                assert await line.status("rules-1", "/v2.1/p1/other") == 401

        assert keystone.questions == 1


@undisturbed
async def test_service_tokens_and_the_expired_tokens_that_they_let_through_are_shared(
    redis: RedisServer, keystone: Keystone, tmp_path: Path
) -> None:
    async with lines(tmp_path, keystone.origin, redis.url, 2) as replicas:
        for line in replicas:
            await line.start(KEY, options="service_tokens: {accept_expired: true}")
            assert await line.status("late-1", service="service-1") == 200
        asked = dict(keystone.asked)

        assert asked == {"service-1": 1, "late-1": 1}
        for line in replicas:
            assert await line.status("late-1") == 401
            assert await line.status("late-1", service="member-1") == 401


@undisturbed
async def test_a_revocation_holds_at_every_replica_and_at_one_that_starts_later(
    redis: RedisServer, keystone: Keystone, tmp_path: Path
) -> None:
    async with lines(tmp_path, keystone.origin, redis.url, 2) as replicas:
        for line in replicas:
            assert await statuses(line, TOKENS[:4]) == {200}
        first, later = replicas
        await later.stop()

        assert first.application is not None
        assert first.application.revocations is not None
        await first.application.revocations.revoke(Revocation.of_token(TOKENS[0]))
        await first.application.revocations.revoke(Revocation(user_id=f"user-{TOKENS[1]}"))
        keystone.gone = {TOKENS[1]}
        await later.start(KEY)

        for line in (first, later):
            assert [await line.status(token) for token in TOKENS[:4]] == [401, 401, 200, 200]


@undisturbed
async def test_an_event_of_keystone_voids_what_a_replica_that_starts_later_would_find(
    redis: RedisServer, keystone: Keystone, tmp_path: Path
) -> None:
    events = "revocation_events: {enabled: true, interval: 1h}"
    keystone.events = []
    async with lines(tmp_path, keystone.origin, redis.url, 2) as replicas:
        for line in replicas:
            await line.start(KEY, options=events)
            assert await statuses(line, TOKENS[:3]) == {200}
        assert keystone.questions == 3
        later = replicas[1]
        await later.stop()

        keystone.gone = {TOKENS[0], TOKENS[1]}
        keystone.events = [
            {"issued_before": "2026-01-01T00:00:00Z", "audit_id": f"audit-{TOKENS[0]}"},
            {"issued_before": "2026-01-01T00:00:00Z", "user_id": f"user-{TOKENS[1]}"},
        ]
        await later.start(KEY, options=events)

        assert [await later.status(token) for token in TOKENS[:3]] == [401, 401, 200]
        assert later.look_ups()["found"] == 1


@undisturbed
async def test_sharing_is_switched_on_off_and_to_another_key_by_reloads(
    redis: RedisServer, keystone: Keystone, tmp_path: Path
) -> None:
    async with lines(tmp_path, keystone.origin, redis.url, 2) as (first, second):
        asked: list[int] = []
        for own, others in (
            ((KEY,), (KEY,)),
            ((), (KEY,)),
            ((OTHER_KEY,), (KEY,)),
            ((OTHER_KEY, KEY), (KEY, OTHER_KEY)),
            ((OTHER_KEY,), (OTHER_KEY,)),
        ):
            before = keystone.questions
            token = f"token-{len(asked)}"
            await first.start(*own)
            await second.start(*others)
            assert await first.status(token) == await second.status(token) == 200
            asked.append(keystone.questions - before)

        assert asked == [1, 2, 2, 1, 1]


@undisturbed
async def test_a_replica_in_front_of_another_identity_service_finds_nothing(
    redis: RedisServer, keystone: Keystone, tmp_path: Path
) -> None:
    other = Keystone()
    for name in "ab":
        (tmp_path / name).mkdir()
    async with (
        other.served(),
        lines(tmp_path / "a", keystone.origin, redis.url, 1) as (here,),
        lines(tmp_path / "b", other.origin, redis.url, 1) as (there,),
    ):
        assert await here.status("alice") == await there.status("alice") == 200

    assert (keystone.questions, other.questions) == (1, 1)


@pytest.mark.parametrize(
    "options",
    [
        "send_catalog: true",
        "service_type: image",
        "service_type: null",
    ],
)
@undisturbed
async def test_what_identity_is_asked_for_otherwise_is_not_shared(
    redis: RedisServer, keystone: Keystone, tmp_path: Path, options: str
) -> None:
    async with lines(tmp_path, keystone.origin, redis.url, 2) as (first, second):
        await second.start(KEY, options=options)

        assert await first.status("alice") == await second.status("alice") == 200

    assert keystone.questions == 2


@undisturbed
async def test_values_that_are_restored_after_redis_was_restarted_count_no_more(
    redis: RedisServer, keystone: Keystone, tmp_path: Path
) -> None:
    async with lines(tmp_path, keystone.origin, redis.url, 1) as (first,):
        assert await first.status("alice") == 200
        with redis.client() as client:
            kept = {key: client.dump(key) for key in client.keys("metaproxy:token:*")}
            record = client.dump("metaproxy:revocations")
        redis.kill()
        redis.start()
        with redis.client() as client:
            for key, value in (*kept.items(), (b"metaproxy:revocations", record)):
                client.restore(key, 0, value)
        (tmp_path / "later").mkdir()
        later = Line(tmp_path / "later", keystone.origin, redis.url)
        await later.start(KEY)

        assert await later.status("alice") == 200
        found = later.look_ups()
        await later.stop()

    assert len(kept) == 1
    assert found == {"unreadable": 1}


async def test_without_redis_keystone_is_asked_and_nobody_gets_an_error(
    redis: RedisServer, keystone: Keystone, tmp_path: Path
) -> None:
    async with lines(tmp_path, keystone.origin, redis.url, 2) as replicas:
        assert await statuses(replicas[0], TOKENS[:5]) == {200}
        redis.kill()

        assert [await statuses(line, TOKENS[:10]) for line in replicas] == [{200}] * 2
        assert keystone.questions == 20


async def test_a_redis_that_is_silent_delays_requests_once_and_refuses_none(
    redis: RedisServer, keystone: Keystone, tmp_path: Path
) -> None:
    async with (
        Forwarder(redis.port) as link,
        lines(tmp_path, keystone.origin, link.url, 1) as (line,),
    ):
        link.swallow_all()

        assert await statuses(line, TOKENS[:20]) == {200}

    assert keystone.questions == 20


async def test_a_redis_that_starts_anew_is_used_again_with_what_is_written_then(
    redis: RedisServer, keystone: Keystone, tmp_path: Path
) -> None:
    async with lines(tmp_path, keystone.origin, redis.url, 2) as replicas:
        assert await statuses(replicas[0], TOKENS[:3]) == {200}
        redis.kill()
        redis.start()

        number = 0
        async with asyncio.timeout(60):
            while keystone.asked[f"new-{number}"] != 1:
                number += 1
                for line in replicas:
                    assert await line.status(f"new-{number}") == 200
                await asyncio.sleep(0.05)
