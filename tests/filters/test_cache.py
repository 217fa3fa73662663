"""The cache stage: hits, misses, and what a write does to them."""

from tests.filters.caching import ALICE, BOB, COLLECTION, ITEM, MALLORY, Origin, Time, make_cache, request


async def test_a_second_read_is_answered_from_memory() -> None:
    origin, time = Origin(), Time()
    cache = make_cache(origin, time)

    first = await request(cache)
    time.seconds += 10
    second = await request(cache)

    assert (second.status, second.body) == (200, origin.body)
    assert len(origin.requests) == 1
    assert first.header("cache-status") == "metaproxy; fwd=uri-miss; ttl=60; stored"
    assert second.header("cache-status") == "metaproxy; hit; ttl=50"
    assert second.header("age") == "10"
    assert (first.exchange.outcome, second.exchange.outcome) == ("forwarded", "hit")


async def test_a_stale_answer_is_fetched_anew() -> None:
    origin, time = Origin(), Time()
    cache = make_cache(origin, time)
    await request(cache)

    time.seconds += 60
    answer = await request(cache)

    assert len(origin.requests) == 2
    assert answer.header("cache-status") == "metaproxy; fwd=stale; ttl=60; stored"


async def test_users_of_one_project_with_the_same_roles_share_answers() -> None:
    origin, time = Origin(), Time()
    cache = make_cache(origin, time)

    await request(cache, identity=ALICE)
    answer = await request(cache, identity=BOB)

    assert answer.exchange.outcome == "hit"


async def test_another_project_gets_nothing_from_memory() -> None:
    origin, time = Origin(), Time()
    cache = make_cache(origin, time)

    await request(cache, identity=ALICE)
    answer = await request(cache, identity=MALLORY)

    assert answer.exchange.outcome == "forwarded"


async def test_a_write_purges_what_is_stored_of_the_image() -> None:
    origin, time = Origin(), Time()
    cache = make_cache(origin, time)
    await request(cache, ITEM)
    await request(cache, COLLECTION)

    await request(cache, ITEM, method="PUT")

    assert (await request(cache, ITEM)).exchange.outcome == "forwarded"
    assert (await request(cache, COLLECTION)).exchange.outcome == "forwarded"
