"""``ttl: heuristic``: an answer is fresh for a tenth of the time since it was modified, over real sockets."""

import pytest

from metaproxy.cache.settings import CacheRoute
from metaproxy.protocol.caching import dates
from tests.unit.cache.wire import PATH, Origin, response, wired

BOTH_WAYS = pytest.mark.parametrize("fast", [True, False], ids=["lane", "line"])
ROUTE = CacheRoute(path=PATH, ttl=None, negative_ttl=5)


def modified(seconds_ago: float) -> str:
    return f"Last-Modified: {dates.render(1_000_000.0 - seconds_ago).decode()}"


@BOTH_WAYS
async def test_an_answer_is_fresh_for_a_tenth_of_the_time_since_it_was_modified(fast: bool) -> None:
    origin = Origin(response(b"ok", modified(600)))
    async with wired(origin, ROUTE, fast=fast) as proxy:
        await proxy.ask()
        proxy.wait(59)
        fresh = await proxy.ask()
        proxy.wait(2)
        stale = await proxy.ask()

    assert "; hit" in fresh.cache_status
    assert "fwd=stale" in stale.cache_status


@BOTH_WAYS
@pytest.mark.parametrize(
    "fields", [(), ("Last-Modified: yesterday",), (modified(600), "Cache-Control: max-age=0")]
)
async def test_without_a_date_or_against_the_origins_word_nothing_is_guessed(
    fields: tuple[str, ...], fast: bool
) -> None:
    async with wired(Origin(response(b"ok", *fields)), ROUTE, fast=fast) as proxy:
        for number in range(1, 4):
            await proxy.ask()
            assert len(proxy.upstream.heads) == number


@BOTH_WAYS
async def test_an_error_is_fresh_for_the_negative_ttl(fast: bool) -> None:
    origin = Origin(response(b"none", modified(600), status="404 Not Found"))
    async with wired(origin, ROUTE, fast=fast) as proxy:
        await proxy.ask()
        proxy.wait(4)
        fresh = await proxy.ask()
        proxy.wait(2)
        await proxy.ask()

    assert "; hit" in fresh.cache_status
    assert len(proxy.upstream.heads) == 2


@BOTH_WAYS
async def test_each_answer_has_its_own_lifetime(fast: bool) -> None:
    origin = Origin(response(b"ok", modified(600)))
    async with wired(origin, ROUTE, fast=fast) as proxy:
        lifetimes = []
        for number, age in enumerate((600, 1200, 300)):
            origin.answer = response(b"ok", modified(age))
            path = f"/v2.1/t1/images/i1/metadata/{number}"
            lifetimes.append((await proxy.ask(path=path)).cache_status.split("; ")[2])

    assert lifetimes == ["ttl=60", "ttl=120", "ttl=30"]
