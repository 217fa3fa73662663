"""The cache stage: a stored collection answers its items."""

from typing import Any

import pytest

from tests.filters.caching import (
    COLLECTION,
    COLLECTION_ROUTE,
    ITEM,
    ITEM_ROUTE,
    JSON,
    MALLORY,
    OTHER_ITEM,
    Origin,
    Time,
    make_cache,
    request,
    turn,
)

ROUTES = [ITEM_ROUTE.model_copy(update={"from_collection": True}), COLLECTION_ROUTE]
METADATA = b'{"metadata": {"label": "Updated", "color": "gr\\u00fcn"}}'


class Images(Origin):
    """Answers collections and items of one image."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        items = {"/label": b'{"meta": {"label": "Updated"}}', "/color": b'{"meta": {"color": "gr\\u00fcn"}}'}
        self.chunks = [items.get(scope["path"].removeprefix(COLLECTION), METADATA)]
        await super().__call__(scope, receive, send)


async def test_a_stored_collection_answers_its_items() -> None:
    origin, time = Images(), Time()
    cache = make_cache(origin, time, routes=ROUTES)
    await request(cache, COLLECTION)

    time.seconds += 10
    answer = await request(cache, ITEM)

    assert answer.body == b'{"meta": {"label": "Updated"}}'
    assert answer.header("cache-status") == "metaproxy; hit; ttl=50; detail=collection"
    assert (answer.header("content-length"), answer.header("age")) == ("30", "10")
    assert len(origin.requests) == 1


async def test_an_item_made_of_a_collection_reads_as_the_origin_writes_it() -> None:
    origin = Images()
    cache = make_cache(origin, Time(), routes=ROUTES)
    direct = await request(cache, OTHER_ITEM, identity=MALLORY)
    await request(cache, COLLECTION)

    assert (await request(cache, OTHER_ITEM)).body == direct.body


async def test_validators_of_the_collection_are_not_those_of_an_item() -> None:
    cache = make_cache(Images(JSON, (b"etag", b'"collection"')), Time(), routes=ROUTES)
    await request(cache, COLLECTION)

    assert (await request(cache, ITEM)).header("etag") != '"collection"'


async def test_an_item_that_the_collection_does_not_hold_is_left_to_the_origin() -> None:
    origin = Images()
    cache = make_cache(origin, Time(), routes=ROUTES)
    await request(cache, COLLECTION)

    answer = await request(cache, COLLECTION + "/unknown")

    assert answer.exchange.outcome == "forwarded"


@pytest.mark.parametrize(
    ("path", "header"),
    [
        pytest.param(ITEM, ("accept", "application/xml"), id="another representation"),
        pytest.param(ITEM + ".json", ("accept", "*/*"), id="a format in the path"),
        pytest.param(ITEM + "?x=1", ("accept", "*/*"), id="a query"),
    ],
)
async def test_what_no_collection_answers(path: str, header: tuple[str, str]) -> None:
    cache = make_cache(Images(), Time(), routes=ROUTES)
    await request(cache, COLLECTION)

    assert (await request(cache, path, header)).exchange.outcome == "forwarded"


async def test_a_stale_collection_answers_nothing() -> None:
    time = Time()
    cache = make_cache(Images(), time, routes=ROUTES)
    await request(cache, COLLECTION)

    time.seconds += 60

    assert (await request(cache, ITEM)).exchange.outcome == "forwarded"


async def test_another_tenants_collection_answers_nothing() -> None:
    cache = make_cache(Images(), Time(), routes=ROUTES)
    await request(cache, COLLECTION, identity=MALLORY)

    assert (await request(cache, ITEM)).exchange.outcome == "forwarded"


async def test_a_route_without_from_collection_is_left_alone() -> None:
    cache = make_cache(Images(), Time())
    await request(cache, COLLECTION)

    assert (await request(cache, ITEM)).exchange.outcome == "forwarded"


@pytest.mark.parametrize(
    "body", [b"no JSON", b'{"metadata": 1}', b'{"metadata": {"label": 1}}', b'{"other": {}}', b"[]"]
)
async def test_a_collection_of_another_shape_answers_nothing(body: bytes) -> None:
    cache = make_cache(Origin(body=body), Time(), routes=ROUTES)
    await request(cache, COLLECTION)

    assert (await request(cache, ITEM)).exchange.outcome == "forwarded"


async def test_the_second_item_that_is_missed_fetches_the_collection() -> None:
    origin = Images()
    cache = make_cache(origin, Time(), routes=ROUTES)

    await request(cache, ITEM)
    await request(cache, OTHER_ITEM)
    await turn()

    assert sorted(scope["path"] for scope in origin.requests) == [COLLECTION, OTHER_ITEM, ITEM]
    assert (await request(cache, COLLECTION)).exchange.outcome == "hit"


async def test_one_item_alone_fetches_no_collection() -> None:
    origin, time = Images(), Time()
    cache = make_cache(origin, time, routes=ROUTES)

    for _ in range(3):
        await request(cache, ITEM)
        time.seconds += 60
    await turn()

    assert {scope["path"] for scope in origin.requests} == {ITEM}


async def test_a_write_to_an_item_forgets_what_the_collection_said_of_it() -> None:
    cache = make_cache(Images(), Time(), routes=ROUTES)
    await request(cache, COLLECTION)
    await request(cache, ITEM)

    await request(cache, OTHER_ITEM, method="PUT")

    assert (await request(cache, ITEM)).exchange.outcome == "forwarded"
