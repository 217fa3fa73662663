"""A refresh is the cache's own request: GET for the whole, whatever the read was that has caused it."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.cache.wire import ERROR_ROUTE, STALE_ROUTE, Origin, response, wired

BOTH_WAYS = pytest.mark.parametrize("fast", [True, False], ids=["lane", "line"])
WHOLE = b"the whole"
TO_HEAD = {
    "without a length": b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n",
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "a length of 0": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "the right length": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
}


@BOTH_WAYS
@pytest.mark.parametrize("to_head", TO_HEAD.values(), ids=TO_HEAD)
async def test_after_head_on_a_stale_answer_everybody_gets_the_whole(to_head: bytes, fast: bool) -> None:
    origin = Origin(response(WHOLE), to_head=to_head)
    async with wired(origin, STALE_ROUTE, fast=fast) as proxy:
        await proxy.ask()
        for _ in range(3):
            proxy.wait(2)
            await proxy.ask("HEAD")
            assert (await proxy.ask()).body == WHOLE

    assert set(proxy.methods) == {"GET"}


@pytest.mark.parametrize("to_head", TO_HEAD.values(), ids=TO_HEAD)
async def test_after_head_past_the_cache_everybody_gets_the_whole(to_head: bytes) -> None:
    origin = Origin(response(WHOLE), to_head=to_head)
    async with wired(origin, ERROR_ROUTE) as proxy:
        for seconds in (0, 0, 2):
            proxy.wait(seconds)
            await proxy.ask("HEAD")
            await proxy.ask("HEAD", "Cache-Control: no-cache")
            assert (await proxy.ask()).body == WHOLE


async def test_a_read_that_joins_the_refresh_of_a_head_gets_the_whole() -> None:
    origin = Origin(response(WHOLE))
    async with wired(origin, STALE_ROUTE) as proxy:
        await proxy.ask()
        proxy.wait(2)
        origin.open.clear()
        head, get = await proxy.client(), await proxy.client()
        head.send("HEAD", PATH)
        await head.answer("HEAD")
        await proxy.flying(2)
        get.send("GET", PATH, "Cache-Control: min-fresh=1")
        await asyncio.sleep(0.05)
        origin.open.set()

        answer = await get.answer()

    assert (answer.body, answer.fields["content-length"]) == (WHOLE, "9")
    assert proxy.methods == ["GET", "GET"]


PATH = "/v2.1/t1/images/i1/metadata/label"
ASKED = st.sampled_from(
    [
        "Range: bytes=0-0",
        "Range: bytes=-1",
        'If-Range: "1"',
        'If-None-Match: "1"',
        "If-None-Match: *",
        "If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT",
        "Cache-Control: max-stale",
        "Cache-Control: max-stale, no-store",
        "Cache-Control: only-if-cached, max-stale=1",
        "Pragma: x",
        "Accept-Encoding: gzip",
    ]
)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(["GET", "HEAD"]), st.lists(ASKED, max_size=3, unique=True), st.booleans())
async def test_whatever_is_asked_of_a_stale_answer_the_refresh_is_for_the_whole(
    method: str, fields: list[str], fast: bool
) -> None:
    origin = Origin(response(b"old", 'ETag: "1"'))
    async with wired(origin, STALE_ROUTE, fast=fast) as proxy:
        await proxy.ask()
        proxy.wait(2)
        origin.answer = response(WHOLE, 'ETag: "2"')
        await proxy.ask(method, *fields)
        if len(proxy.methods) == 1:
            await proxy.ask()

        answer = await proxy.ask()
        heads = proxy.upstream.heads[1:]

    assert answer.body == WHOLE
    for head in heads:
        assert head.startswith(b"GET ")
        assert b'if-none-match: "1"' in head.lower()
        for name in (b"range:", b"if-range:", b"if-modified-since:", b"only-if-cached", b"max-stale"):
            assert name not in head.lower()
