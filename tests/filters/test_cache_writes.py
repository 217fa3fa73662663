"""The cache stage: what a write does to what is stored."""

import asyncio
from typing import Any

import pytest

from metaproxy.cache.settings import CacheRoute
from metaproxy.exchange import SCOPE_KEY, Exchange
from metaproxy.protocol.faults import Fault
from tests.asgi_driver import drive
from tests.filters.caching import (
    ALICE,
    COLLECTION,
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

WRITES = [
    pytest.param("PUT", ITEM, id="an item is written"),
    pytest.param("DELETE", ITEM, id="an item is deleted"),
    pytest.param("POST", COLLECTION, id="items are merged"),
    pytest.param("PUT", COLLECTION, id="all items are replaced"),
    pytest.param("DELETE", "/v2.1/images/i1", id="the image is deleted"),
    pytest.param("PUT", ITEM + ".json", id="an item is written in a named format"),
    pytest.param("DELETE", "/v2.1/images/I1.xml", id="the image is named in another way"),
    pytest.param("PATCH", ITEM, id="a method that nobody knows"),
]


@pytest.mark.parametrize(("method", "path"), WRITES)
async def test_a_write_purges_all_that_is_stored_of_the_image(method: str, path: str) -> None:
    cache = make_cache(Origin(), Time())
    for read in (ITEM, OTHER_ITEM, COLLECTION):
        await request(cache, read)

    await request(cache, path, method=method)

    assert cache.inventory.statistics().keys == 0


async def test_a_write_purges_what_other_tenants_have_stored_of_the_image() -> None:
    cache = make_cache(Origin(), Time())
    await request(cache, identity=MALLORY)

    await request(cache, method="PUT")

    assert (await request(cache, identity=MALLORY)).exchange.outcome == "forwarded"


async def test_a_write_to_another_image_purges_nothing() -> None:
    cache = make_cache(Origin(), Time())
    await request(cache)

    await request(cache, "/v2.1/images/i2/metadata/label", method="PUT")

    assert (await request(cache)).exchange.outcome == "hit"


async def test_a_write_through_another_form_of_the_path_purges_too() -> None:
    routes = [ITEM_ROUTE, CacheRoute(path="/v2/{tenant_id}/images/{image_id}/metadata/{key}", ttl=60)]
    cache = make_cache(Origin(), Time(), routes=routes)
    await request(cache)

    await request(cache, "/v2/p1/images/i1", method="DELETE")

    assert (await request(cache)).exchange.outcome == "forwarded"


@pytest.mark.parametrize(
    "template",
    [
        "/v2.1/images/**",
        "/v2.1/images/{id}/metadata/{key}",
        "/v2.1/images/*/metadata/*",
        "/v2.1/images/i1/metadata/label",
    ],
)
@pytest.mark.parametrize("written", [ITEM, COLLECTION, "/v2/p1/images/i1/metadata/label", "/images/i1"])
async def test_a_write_is_seen_however_the_operator_has_called_the_parts_of_the_path(
    template: str, written: str
) -> None:
    cache = make_cache(Origin(), Time(), routes=[CacheRoute(path=template, ttl=60)])
    await request(cache)

    await request(cache, written, method="PUT")

    assert (await request(cache)).exchange.outcome == "forwarded"


async def test_a_write_is_seen_whatever_template_has_named_the_request() -> None:
    cache = make_cache(Origin(), Time(), routes=[ITEM_ROUTE])
    await request(cache)

    # As stage 1 leaves it where a rate of the operator's has the most specific template.
    named = Exchange(
        "req-1", 0.0, identity=ALICE, captures={"picture": "i1"}, route="/v2/p1/images/{picture}/**"
    )
    await drive(cache, "PUT", "/v2/p1/images/i1/metadata/label", scope_extra={SCOPE_KEY: named})

    assert (await request(cache)).exchange.outcome == "forwarded"


@pytest.mark.parametrize("listed", ["/v2.1/images", "/v2.1/images/detail", "/v2.1/images/detail.json"])
async def test_lists_tell_of_every_image_and_are_purged_with_any(listed: str) -> None:
    cache = make_cache(Origin(), Time(), routes=[CacheRoute(path="/v2.1/images/**", ttl=60)])
    await request(cache, listed)
    await request(cache, "/v2.1/images/i2")

    await request(cache, "/v2.1/images/i1/metadata/label", method="PUT")

    assert (await request(cache, listed)).exchange.outcome == "forwarded"
    assert (await request(cache, "/v2.1/images/i2")).exchange.outcome == "hit"


async def test_what_is_stored_is_gone_as_soon_as_the_write_is_sent() -> None:
    origin = Origin()
    cache = make_cache(origin, Time())
    await request(cache)
    origin.opened.clear()

    write = asyncio.create_task(request(cache, method="PUT"))
    await turn()

    assert cache.inventory.statistics().keys == 0
    origin.opened.set()
    await write


@pytest.mark.parametrize("status", [400, 403, 409, 413])
async def test_a_write_that_failed_purges_all_the_same(status: int) -> None:
    origin = Origin()
    cache = make_cache(origin, Time())
    await request(cache)
    origin.status = status
    await request(cache, method="PUT")
    origin.status = 200

    assert (await request(cache)).exchange.outcome == "forwarded"
    assert (await request(cache)).exchange.outcome == "hit"


class Slow(Origin):
    """Answers reads with the value that it had when it was asked, once it is let to."""

    def __init__(self) -> None:
        super().__init__(JSON, body=b"old")
        self.reads = asyncio.Event()
        self.reads.set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] != "GET":
            await self.opened.wait()
            self.chunks = [b"new"]
            await super().__call__(scope, receive, send)
            return
        self.requests.append(scope)
        value = self.chunks[0]
        await self.reads.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [JSON]})
        await send({"type": "http.response.body", "body": value})


async def test_a_read_that_overlaps_a_write_does_not_store_the_older_value() -> None:
    origin = Slow()
    cache = make_cache(origin, Time())
    origin.reads.clear()
    read = asyncio.create_task(request(cache))
    await turn()

    await request(cache, method="PUT")
    origin.reads.set()

    assert (await read).body == b"old"
    assert (await request(cache)).body == b"new"


async def test_nobody_joins_a_read_that_began_before_a_write() -> None:
    origin = Slow()
    cache = make_cache(origin, Time())
    origin.reads.clear()
    early = asyncio.create_task(request(cache))
    await turn()
    await request(cache, method="PUT")

    late = asyncio.create_task(request(cache))
    await turn()
    origin.reads.set()

    assert ((await early).body, (await late).body) == (b"old", b"new")


async def test_a_read_while_a_write_is_under_way_is_neither_stored_nor_shared() -> None:
    origin = Slow()
    cache = make_cache(origin, Time())
    origin.opened.clear()
    write = asyncio.create_task(request(cache, method="PUT"))
    await turn()

    answers = [await request(cache) for _ in range(2)]

    assert [answer.header("cache-status") for answer in answers] == ["metaproxy; fwd=uri-miss"] * 2
    origin.opened.set()
    await write
    assert (await request(cache)).body == b"new"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        pytest.param(202, None, id="accepted, not done"),
        pytest.param(504, None, id="a gateway gave up"),
        pytest.param(200, Fault(504, "Too slow.", reason="upstream_timeout"), id="no answer at all"),
    ],
)
async def test_after_a_write_of_uncertain_effect_nothing_is_stored_for_a_while(
    status: int, error: Exception | None
) -> None:
    origin, time = Origin(), Time()
    cache = make_cache(origin, time)
    origin.status, origin.error = status, error
    await request(cache, method="PUT")
    origin.status, origin.error = 200, None

    await request(cache)
    uncertain = await request(cache)
    time.seconds += 30
    await request(cache)

    assert uncertain.exchange.outcome == "forwarded"
    assert (await request(cache)).exchange.outcome == "hit"


ANYTHING = [CacheRoute(path="/**", ttl=60)]


async def test_where_no_image_is_named_a_write_purges_its_path() -> None:
    cache = make_cache(Origin(), Time(), routes=ANYTHING, scope="shared")
    for path in ("/a", "/a?x=1", "/b"):
        await request(cache, path)

    await request(cache, "/a", method="PUT")

    outcomes = [(await request(cache, path)).exchange.outcome for path in ("/a", "/a?x=1", "/b")]
    assert outcomes == ["forwarded", "forwarded", "hit"]


@pytest.mark.parametrize("written", ["/%61/%C3%BC", "/a/%c3%bc"])
async def test_a_path_may_be_spelled_in_another_way_where_it_is_written(written: str) -> None:
    cache = make_cache(Origin(), Time(), routes=ANYTHING, scope="shared")
    await request(cache, "/a/%C3%BC")

    await request(cache, written, method="PUT")

    assert (await request(cache, "/a/%C3%BC")).exchange.outcome == "forwarded"


@pytest.mark.parametrize("field", [b"location", b"content-location"])
async def test_a_write_purges_what_its_answer_names(field: bytes) -> None:
    origin = Origin()
    cache = make_cache(origin, Time(), routes=ANYTHING, scope="shared")
    await request(cache, "/b")
    origin.headers = [(field, b"http://api/b")]

    await request(cache, "/a", method="POST")

    assert (await request(cache, "/b")).exchange.outcome == "forwarded"


async def test_a_write_purges_nothing_of_another_origin() -> None:
    origin = Origin()
    cache = make_cache(origin, Time(), routes=ANYTHING, scope="shared")
    await request(cache, "/b")
    origin.headers = [(b"location", b"http://other/b")]

    await request(cache, "/a", method="POST")

    assert (await request(cache, "/b")).exchange.outcome == "hit"
