"""A final answer of the origin replaces or removes the stored one that it speaks of, over real sockets."""

import pytest

from metaproxy.cache.settings import CacheRoute
from tests.unit.cache.wire import ERROR_ROUTE, ITEM, STALE_ROUTE, Origin, response, wired

BOTH_WAYS = pytest.mark.parametrize("fast", [True, False], ids=["lane", "line"])
UNSTORED = {
    "401": response(b"who?", status="401 Unauthorized"),
    "403": response(b"no", status="403 Forbidden"),
    "404": response(b"none", status="404 Not Found"),
    "410": response(b"gone", status="410 Gone"),
    "429": response(b"slowly", status="429 Too Many Requests"),
    "302": response(b"", "Location: /elsewhere", status="302 Found"),
    "204 that is private": response(b"", "Cache-Control: private", status="204 No Content"),
    "no-store": response(b"new", "Cache-Control: no-store"),
    "private": response(b"new", "Cache-Control: private"),
    "Vary: *": response(b"new", "Vary: *"),
    "Vary on a field that is written on the way": response(b"new", "Vary: X-Forwarded-For"),
    "too large": response(b"x" * 5000),
    "too large, chunked": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1388\r\n" + b"x" * 5000 + b"\r\n0\r\n\r\n"
    ),
    "a 304 that says no-store": b"HTTP/1.1 304 Not Modified\r\nCache-Control: no-store\r\n\r\n",
    "a 304 for another content": b'HTTP/1.1 304 Not Modified\r\nETag: "other"\r\n\r\n',
}
BROKEN = response(b"down", status="503 Service Unavailable")


@BOTH_WAYS
@pytest.mark.parametrize("answer", UNSTORED.values(), ids=UNSTORED)
async def test_what_the_origin_says_in_the_background_ends_the_stale_answer(
    answer: bytes, fast: bool
) -> None:
    origin = Origin(response(b"old", 'ETag: "1"'))
    async with wired(origin, STALE_ROUTE, fast=fast, max_entry_bytes=4096) as proxy:
        await proxy.ask()
        proxy.wait(2)
        origin.answer = answer

        stale = await proxy.ask()
        bodies = [stale.body]
        origin.answer = BROKEN
        bodies += [(await proxy.ask()).body for _ in range(3)]

    assert bodies == [b"old", b"down", b"down", b"down"]


@BOTH_WAYS
@pytest.mark.parametrize("answer", UNSTORED.values(), ids=UNSTORED)
async def test_what_a_client_was_told_by_the_origin_is_not_taken_back_when_it_fails(
    answer: bytes, fast: bool
) -> None:
    origin = Origin(response(b"old", 'ETag: "1"'))
    async with wired(origin, ERROR_ROUTE, fast=fast, max_entry_bytes=4096) as proxy:
        await proxy.ask()
        proxy.wait(2)
        origin.answer = answer
        if b"304 Not" not in answer:
            await proxy.ask()
        else:
            await proxy.ask("GET", "Cache-Control: no-cache")

        origin.answer = BROKEN
        bodies = [(await proxy.ask()).body for _ in range(3)]

    assert bodies == [b"down"] * 3


@BOTH_WAYS
@pytest.mark.parametrize("status", ["500 a", "502 b", "503 c", "504 d"])
async def test_a_failing_origin_leaves_the_stale_answer_in_service(status: str, fast: bool) -> None:
    origin = Origin()
    async with wired(origin, STALE_ROUTE, fast=fast) as proxy:
        await proxy.ask()
        proxy.wait(2)
        origin.answer = response(b"down", status=status)

        assert [(await proxy.ask()).body for _ in range(3)] == [b"old"] * 3


@pytest.mark.parametrize(
    ("answer", "after_range"),
    [
        (response(b"no", status="403 Forbidden"), b"down"),
        (response(b"no", status="404 Not Found"), b"down"),
        (response(b"new", "Cache-Control: no-store"), b"down"),
        (response(b"new", 'ETag: "2"'), b"new"),  # the whole is stored in place of the old one
        (response(b"a longer one"), b"a longer one"),
    ],
)
@pytest.mark.parametrize("of_range", [True, False], ids=["range", "head"])
async def test_an_answer_to_head_or_to_a_range_that_contradicts_ends_the_stored_one(
    answer: bytes, after_range: bytes, of_range: bool
) -> None:
    origin = Origin(response(b"old", 'ETag: "1"'))
    async with wired(origin, ERROR_ROUTE) as proxy:
        await proxy.ask()
        proxy.wait(2)
        origin.answer = answer
        await (proxy.ask("GET", "Range: bytes=0-0") if of_range else proxy.ask("HEAD"))

        origin.answer = BROKEN
        assert (await proxy.ask()).body == (after_range if of_range else b"down")


@pytest.mark.parametrize("answer", [response(b"old", 'ETag: "1"'), response(b"old"), BROKEN])
async def test_an_answer_to_head_that_agrees_or_fails_leaves_the_stored_one(answer: bytes) -> None:
    origin = Origin(response(b"old", 'ETag: "1"'))
    async with wired(origin, ERROR_ROUTE) as proxy:
        await proxy.ask()
        proxy.wait(2)
        origin.answer = answer
        await proxy.ask("HEAD")

        origin.answer = BROKEN
        assert (await proxy.ask()).body == b"old"


@BOTH_WAYS
async def test_an_answer_that_varies_otherwise_replaces_the_one_that_was_validated(fast: bool) -> None:
    origin = Origin(response(b"old", "Cache-Control: max-age=1"))
    async with wired(origin, ERROR_ROUTE, fast=fast) as proxy:
        await proxy.ask("GET", "Accept-Language: de")
        proxy.wait(2)
        origin.answer = response(b"new", "Cache-Control: max-age=1", "Vary: Accept-Language")
        await proxy.ask("GET", "Accept-Language: de")

        origin.answer = BROKEN
        assert (await proxy.ask("GET", "Accept-Language: fr")).body == b"down"


@BOTH_WAYS
async def test_a_404_without_a_lifetime_is_not_sent_when_it_is_stale(fast: bool) -> None:
    origin = Origin(response(b"none", status="404 Not Found"))
    async with wired(origin, STALE_ROUTE, fast=fast) as proxy:
        await proxy.ask()
        origin.answer = response(b"new")

        assert (await proxy.ask()).body == b"new"


async def test_an_item_that_is_gone_is_not_made_of_its_collection() -> None:
    collection = "/v2.1/t1/images/i1/metadata"
    routes = (
        CacheRoute(path="/v2.1/{t}/images/{image_id}/metadata/{key}", ttl=60, from_collection=True),
        CacheRoute(path="/v2.1/{t}/images/{image_id}/metadata", ttl=60),
    )
    origin = Origin(response(b'{"metadata": {"label": "old"}}', "Content-Type: application/json"))
    async with wired(origin, *routes) as proxy:
        await proxy.ask(path=collection)
        assert (await proxy.ask()).body == b'{"meta": {"label": "old"}}'
        origin.answer = response(b"no", status="403 Forbidden")
        await proxy.ask("GET", "Cache-Control: no-cache")

        assert (await proxy.ask()).status == 403


async def test_an_item_that_is_not_in_its_collection_leaves_the_collection_stored() -> None:
    collection = "/v2.1/t1/images/i1/metadata"
    routes = (
        CacheRoute(path="/v2.1/{t}/images/{image_id}/metadata/{key}", ttl=60, from_collection=True),
        CacheRoute(path="/v2.1/{t}/images/{image_id}/metadata", ttl=60),
    )
    origin = Origin(response(b'{"metadata": {"label": "old"}}', "Content-Type: application/json"))
    async with wired(origin, *routes) as proxy:
        await proxy.ask(path=collection)
        origin.answer = response(b"no", status="404 Not Found")
        await proxy.ask(path=f"{collection}/other")

        assert "hit" in (await proxy.ask(path=ITEM)).cache_status
