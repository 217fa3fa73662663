"""What holds on to a verdict sees it end: it is not fresh once it is kept no longer."""

from collections.abc import Callable

import pytest

from metaproxy.exchange import Identity
from metaproxy.identity.revocation import Revocation
from metaproxy.identity.sharing import own_size
from metaproxy.identity.token_cache import ENTRY_BYTES, Known, TokenCache, TokenCacheSettings
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
    return TokenCache(
        TokenCacheSettings(ttl=60, negative_ttl=10, stale_if_unavailable=60, max_entries=2, jitter=0),
        monotonic=clock,
        wall=clock,
    )


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


WIDE = Identity(user_id="bob", user_name="v" * 10_000)


def test_verdicts_are_kept_within_a_bound_of_bytes_and_the_least_recent_goes_first(clock: Moment) -> None:
    entry = ENTRY_BYTES + own_size(WIDE)
    cache = TokenCache(
        TokenCacheSettings(
            ttl=60, negative_ttl=10, stale_if_unavailable=0, max_entries=100, max_bytes=3 * entry, jitter=0
        ),
        monotonic=clock,
        wall=clock,
    )
    for key in (b"1", b"2", b"3"):
        held(cache, key, WIDE)

    held(cache, b"4", WIDE)

    assert cache.counts()[0] == (("valid",), 3)
    assert cache.fresh(b"1") is None
    assert cache.fresh(b"4") is not None


def test_a_verdict_that_is_larger_than_the_bound_is_not_kept_and_pushes_out_nothing(clock: Moment) -> None:
    cache = TokenCache(
        TokenCacheSettings(
            ttl=60, negative_ttl=10, stale_if_unavailable=0, max_entries=9, max_bytes=5000, jitter=0
        ),
        monotonic=clock,
        wall=clock,
    )
    held(cache)

    cache.keep(b"wide", WIDE, b"")

    assert cache.fresh(b"wide") is None
    assert cache.fresh(b"key") is not None


def test_what_an_identity_takes_grows_with_what_it_says() -> None:
    short, long = (Identity(user_name="a" * size, audit_ids=("b" * size,)) for size in (10, 1000))

    assert own_size(long) - own_size(short) == 2 * 990
    assert own_size(WIDE) > 10 * 1000


def test_rejections_have_a_bound_of_bytes_too(clock: Moment) -> None:
    most = 8 * 4 * ENTRY_BYTES
    cache = TokenCache(
        TokenCacheSettings(
            ttl=60, negative_ttl=10, stale_if_unavailable=0, max_entries=999, max_bytes=most, jitter=0
        ),
        monotonic=clock,
        wall=clock,
    )
    for number in range(10):
        cache.reject(b"%d" % number, Rejected("token_unknown"))

    assert cache.counts()[1] == (("rejected",), 4)
