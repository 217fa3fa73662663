"""What holds on to a verdict sees it end: it is not fresh once it is kept no longer."""

from collections.abc import Callable

import pytest

from metaproxy.exchange import Identity
from metaproxy.identity.revocation import Revocation
from metaproxy.identity.token_cache import Known, TokenCache
from metaproxy.identity.validator import Rejected

ALICE = Identity(user_id="alice")
NOW = 1000.0


class Moment:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Moment:
    return Moment()


@pytest.fixture
def cache(clock: Moment) -> TokenCache:
    return TokenCache(ttl=60, negative_ttl=10, grace=60, max_entries=2, jitter=0, monotonic=clock, wall=clock)


def held(cache: TokenCache, key: bytes = b"key", identity: Identity = ALICE) -> Known:
    cache.keep(key, identity, b"")
    known = cache.fresh(key)
    assert known is not None
    return known


def push_out(cache: TokenCache) -> None:
    for key in (b"1", b"2"):
        cache.keep(key, Identity(), b"")


ENDS: dict[str, Callable[[TokenCache], object]] = {
    "it is revoked": lambda cache: cache.forget(Revocation(user_id="alice")),
    "revocations were missed": lambda cache: cache.doubt(),
    "identity has said otherwise": lambda cache: cache.reject(b"key", Rejected("token_unknown")),
    "identity has said it again": lambda cache: cache.keep(b"key", ALICE, b""),
    "others have pushed it out": push_out,
}


@pytest.mark.parametrize("how", ENDS)
def test_a_verdict_is_not_fresh_any_more_when(cache: TokenCache, how: str) -> None:
    known = held(cache)
    assert known.is_fresh(NOW, NOW)

    ENDS[how](cache)

    assert not known.is_fresh(NOW, NOW)


def test_a_verdict_is_fresh_for_its_time_by_both_clocks(cache: TokenCache) -> None:
    known = held(cache, identity=Identity(expires_at=NOW + 30))

    assert known.is_fresh(NOW + 29, NOW + 29)
    assert not known.is_fresh(NOW + 30, NOW)
    assert not known.is_fresh(NOW, NOW + 30)


def test_a_rejection_is_fresh_for_its_time_and_ends_with_a_better_verdict(
    cache: TokenCache, clock: Moment
) -> None:
    cache.reject(b"key", Rejected("token_unknown"))
    known = cache.fresh(b"key")
    assert known is not None
    assert known.is_fresh(NOW + 9, NOW + 9)
    assert not known.is_fresh(NOW + 10, NOW + 10)

    held(cache)

    assert not known.is_fresh(NOW, NOW)
