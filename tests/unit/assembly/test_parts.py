from pathlib import Path

import pytest
import structlog

from metaproxy.assembly.identity import Tokens
from metaproxy.assembly.parts import Parts
from metaproxy.assembly.shared import Shared
from metaproxy.identity.revocation import Revocation
from metaproxy.identity.validator import Rejected
from metaproxy.telemetry.metrics import Metrics
from tests.unit.assembly.configured import KEYSTONE, STATIC, config

CACHE = "cache: {routes: [{path: /a}]}"
RATE = "limits: {rates: [{name: a, rate: 5/minute}]}"


def parts(folder: Path, *sections: str, before: Parts | None = None) -> Parts:
    return Parts(config(folder, *sections), b"1.1 metaproxy", Metrics(), before)


def test_parts_of_which_the_configuration_says_the_same_are_kept(tmp_path: Path) -> None:
    before = parts(tmp_path, STATIC, RATE)

    after = parts(tmp_path, STATIC, RATE, "via: {version: false}", before=before)

    assert after.rates is before.rates
    assert after.tokens is before.tokens
    assert after.shared is before.shared
    assert after.access_log is before.access_log


@pytest.mark.parametrize(
    ("changed", "anew"),
    [
        ((STATIC, RATE, "cache: {routes: [{path: /a}]}"), set()),
        ((STATIC, RATE.replace("5", "6")), {"rates"}),
        ((KEYSTONE, RATE), {"tokens", "cache"}),
        ((STATIC, RATE, "logging: {access: false}"), {"access_log"}),
        ((STATIC, RATE, "store: {url: 'redis://127.0.0.1:9/0'}"), {"shared", "rates", "tokens", "cache"}),
        ((STATIC, RATE, "cache: {routes: [{path: /b}]}"), {"cache"}),
        ((STATIC, RATE, "headers: {request: {remove: [Cookie]}}"), {"cache"}),
        ((STATIC, RATE, "headers: {response: {remove: [Server]}}"), set()),
    ],
)
def test_parts_of_which_it_says_something_else_are_made_anew(
    tmp_path: Path, changed: tuple[str, ...], anew: set[str]
) -> None:
    before = parts(tmp_path, STATIC, RATE, CACHE)
    if not any("cache:" in section for section in changed):
        changed = (*changed, CACHE)

    after = parts(tmp_path, *changed, before=before)

    names = {"rates", "tokens", "shared", "access_log", "forward", "cache"}
    assert {name for name in names if getattr(after, name) is not getattr(before, name)} == anew


def test_a_cache_that_a_new_configuration_does_not_keep_is_logged(tmp_path: Path) -> None:
    before = parts(tmp_path, STATIC, CACHE)
    same = parts(tmp_path, STATIC, CACHE, RATE, before=before)
    other = parts(tmp_path, STATIC, CACHE.replace("/a", "/a, ttl: 5s"), before=same)

    with structlog.testing.capture_logs() as events:
        same.take_over()
        assert events == []
        other.take_over()

    assert events == [{"event": "the cache begins empty", "answers": 0, "log_level": "info"}]


@pytest.mark.parametrize(
    "between",
    [
        (KEYSTONE.replace("9/v3", "8/v3"),),
        (KEYSTONE, "store: {url: 'redis://127.0.0.1:9/0'}"),
        ("identity: {provider: none}",),
        (STATIC.replace("alice", "bob"), RATE),
    ],
    ids=["identity", "store", "no identity", "another provider"],
)
async def test_what_operators_have_revoked_stays_revoked_whatever_changes(
    tmp_path: Path, between: tuple[str, ...]
) -> None:
    before = parts(tmp_path, STATIC)
    assert before.tokens is not None
    before.tokens.part.validator.revoke(Revocation.of_token("alice-token"))

    after = parts(tmp_path, STATIC, CACHE, before=parts(tmp_path, *between, before=before))

    assert after.tokens is not None
    assert await after.tokens.part.validator.resolve(b"alice-token") == Rejected("token_revoked")
    assert after.tokens is not before.tokens


def test_without_identity_nothing_knows_tokens(tmp_path: Path) -> None:
    none = parts(tmp_path, "identity: {provider: none}")

    assert none.tokens is None
    assert len(none.all()) == len(parts(tmp_path, STATIC).all()) - 1


async def test_without_a_store_messages_stay_in_the_process(tmp_path: Path) -> None:
    shared = Shared(config(tmp_path, STATIC).store)

    await shared.start()
    received: list[bytes] = []
    shared.broadcast.subscribe("x", received.append, lambda: None)
    await shared.broadcast.publish("x", b"1")
    await shared.close()

    assert shared.store is None
    assert received == [b"1"]


def test_events_are_polled_where_the_operator_wants_it(tmp_path: Path) -> None:
    polling = KEYSTONE + "  revocation_events: {enabled: true}\n"
    plain = config(tmp_path, KEYSTONE).identity
    wanted = config(tmp_path, polling).identity

    def count(section: object) -> int:
        return len(Tokens(section, Shared(config(tmp_path, STATIC).store).broadcast, Metrics())._parts)  # type: ignore[arg-type] # a provider

    assert count(wanted) == count(plain) + 1


@pytest.mark.parametrize(
    "between",
    [(CACHE,), (CACHE, "store: {url: 'redis://127.0.0.1:9/0'}"), ()],
    ids=["cache", "store", "no cache"],
)
def test_what_replicas_must_still_be_told_stays_owed_whatever_changes(
    tmp_path: Path, between: tuple[str, ...]
) -> None:
    before = parts(tmp_path, STATIC, CACHE)
    before.debts.owe(("image:1",))

    after = parts(
        tmp_path, STATIC, CACHE.replace("/a", "/b"), before=parts(tmp_path, STATIC, *between, before=before)
    )

    assert after.debts.take() == ("image:1",)
