"""Faults that were reported of other caches: ranges, their conditions, and what an answer varies on."""

import asyncio

import pytest

from metaproxy.cache.settings import CacheRoute
from tests.unit.cache.wire import ITEM, PATH, PLAIN_ROUTE, Origin, response, wired
from tests.unit.forward.scripted import Peer

BOTH_WAYS = pytest.mark.parametrize("fast", [True, False], ids=["lane", "line"])
WHOLE = b"0123456789"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n" + WHOLE + b"\r\n0\r\n\r\n"


@BOTH_WAYS
async def test_content_range_means_nothing_in_a_200(fast: bool) -> None:
    half = response(b"56789", "Content-Range: bytes 5-9/10", 'ETag: "1"')
    async with wired(Origin(half), fast=fast) as proxy:
        whole = [await proxy.ask() for _ in range(2)]
        part = await proxy.ask("GET", "Range: bytes=0-1")
        none = await proxy.ask("GET", "Range: bytes=20-")

    assert {(answer.status, answer.body) for answer in whole} == {(200, b"56789")}
    assert (part.status, part.body, part.fields["content-range"]) == (206, b"56", "bytes 0-1/5")
    assert (none.status, none.fields["content-range"]) == (416, "bytes */5")


@BOTH_WAYS
@pytest.mark.parametrize("whole", [response(WHOLE), CHUNKED], ids=["length", "chunked"])
async def test_the_whole_with_which_an_origin_answers_a_range_is_stored(whole: bytes, fast: bool) -> None:
    async with wired(Origin(whole), fast=fast) as proxy:
        first = await proxy.ask("GET", "Range: bytes=0-4")
        parts = [await proxy.ask("GET", "Range: bytes=0-4") for _ in range(2)]
        after = await proxy.ask()

    assert (first.status, first.body) == (200, WHOLE)
    assert [(answer.status, answer.body) for answer in parts] == [(206, b"01234")] * 2
    assert (after.status, after.body) == (200, WHOLE)
    assert len(proxy.upstream.heads) == 1


@BOTH_WAYS
async def test_the_whole_with_which_an_origin_answers_a_range_replaces_a_stale_one(fast: bool) -> None:
    origin = Origin(response(b"0000000000"))
    async with wired(origin, CacheRoute(path=PATH, ttl=1), fast=fast) as proxy:
        await proxy.ask()
        proxy.wait(2)
        origin.answer = response(WHOLE, "Cache-Control: max-age=60")
        answers = [await proxy.ask("GET", "Range: bytes=0-4") for _ in range(3)]
        whole = await proxy.ask()

    assert [(answer.status, answer.body) for answer in answers] == [(200, WHOLE), *[(206, b"01234")] * 2]
    assert whole.body == WHOLE


CUT_OR_NOT_STORED = {
    "too large": response(b"x" * 40_000),
    "too large, in chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9c40\r\n"
    + b"x" * 40_000
    + b"\r\n0\r\n\r\n",
    "private": response(WHOLE, "Cache-Control: private"),
    "an error": response(WHOLE, status="403 Forbidden"),
    "Vary of the range": response(WHOLE, "Vary: Range"),
}


@BOTH_WAYS
@pytest.mark.parametrize("whole", CUT_OR_NOT_STORED.values(), ids=CUT_OR_NOT_STORED)
async def test_another_answer_to_a_range_is_not_stored(whole: bytes, fast: bool) -> None:
    async with wired(Origin(whole), fast=fast, max_entry_bytes=30_000) as proxy:
        answers = [await proxy.ask("GET", "Range: bytes=0-4") for _ in range(3)]

    assert len(proxy.upstream.heads) == 3
    assert {len(answer.body) for answer in answers} <= {10, 40_000}


@BOTH_WAYS
async def test_the_whole_that_breaks_off_is_not_stored_of_a_range_either(fast: bool) -> None:
    class Cutting(Origin):
        async def __call__(self, peer: Peer) -> None:
            await peer.head()
            await peer.send(self.answer)
            if not self.answer.endswith(b"4\r\nhalf\r\n"):
                await super().__call__(peer)

    origin = Cutting(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
    async with wired(origin, fast=fast) as proxy:
        client = await proxy.client()
        client.send("GET", ITEM, "Range: bytes=0-1")
        with pytest.raises(asyncio.IncompleteReadError):
            await client.answer()
        origin.answer = response(WHOLE)

        assert (await proxy.ask("GET", "Range: bytes=0-1")).status == 200
        assert (await proxy.ask("GET", "Range: bytes=0-1")).body == b"01"


@BOTH_WAYS
async def test_a_condition_goes_before_a_range_that_cannot_be_satisfied(fast: bool) -> None:
    async with wired(Origin(response(WHOLE, 'ETag: "1"')), fast=fast) as proxy:
        await proxy.ask()
        statuses = [
            (await proxy.ask("GET", "Range: bytes=20-", condition)).status
            for condition in ('If-None-Match: "1"', 'If-None-Match: "2"', 'If-Range: "2"') * 2
        ]

    assert statuses == [304, 416, 200] * 2


@BOTH_WAYS
@pytest.mark.parametrize("vary", ["Vary: Accept-Encoding", "Vary: X-Other", "X-No: vary"])
async def test_what_chose_the_content_counts_on_if_a_304_does_not_name_it(vary: str, fast: bool) -> None:
    class Echoing(Origin):
        async def __call__(self, peer: Peer) -> None:
            while True:
                head = await peer.head()
                asked = head.partition(b"accept-language: ")[2].partition(b"\r\n")[0]
                if b"if-none-match" in head:
                    await peer.send(f'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\n{vary}\r\n\r\n'.encode())
                else:
                    await peer.send(response(asked, "Vary: Accept-Language, Accept-Encoding", 'ETag: "1"'))

    async with wired(Echoing(), CacheRoute(path=PATH, ttl=1), fast=fast) as proxy:
        await proxy.ask("GET", "Accept-Language: de")
        proxy.wait(1.5)
        renewed = await proxy.ask("GET", "Accept-Language: de")
        hit = await proxy.ask("GET", "Accept-Language: de")
        french = [await proxy.ask("GET", "Accept-Language: fr") for _ in range(2)]

    assert "fwd-status=304" in renewed.cache_status
    assert (renewed.body, hit.body, "; hit" in hit.cache_status) == (b"de", b"de", True)
    assert [answer.body for answer in french] == [b"fr", b"fr"]


@BOTH_WAYS
async def test_a_304_for_one_variant_leaves_the_other_as_it_is(fast: bool) -> None:
    origin = Origin(response(b"german", "Vary: Accept-Language", 'ETag: "de"'))
    async with wired(origin, CacheRoute(path=PATH, ttl=2), fast=fast) as proxy:
        await proxy.ask("GET", "Accept-Language: de")
        origin.answer = response(b"french", "Vary: Accept-Language", 'ETag: "fr"', "X-Of: french")
        await proxy.ask("GET", "Accept-Language: fr")
        proxy.wait(3)
        origin.answer = (
            b'HTTP/1.1 304 Not Modified\r\nETag: "de"\r\nVary: Accept-Language\r\nX-Of: german\r\n\r\n'
        )
        german = await proxy.ask("GET", "Accept-Language: de")
        origin.answer = response(b"newer", "Vary: Accept-Language", 'ETag: "fr2"')
        french = await proxy.ask("GET", "Accept-Language: fr")
        again = await proxy.ask("GET", "Accept-Language: de")

    assert (german.body, german.fields["x-of"]) == (b"german", "german")
    assert (french.body, again.body) == (b"newer", b"german")


@BOTH_WAYS
async def test_a_question_mark_without_a_query_is_another_target(fast: bool) -> None:
    class Telling(Origin):
        async def __call__(self, peer: Peer) -> None:
            while True:
                await peer.send(response((await peer.head()).split(b" ")[1]))

    async with wired(Telling(), fast=fast) as proxy:
        targets = [f"{ITEM}?", ITEM, f"{ITEM}?", ITEM, f"{ITEM}??"]
        answers = [await proxy.ask(path=target) for target in targets]

    assert [answer.body.decode() for answer in answers] == targets
    assert len(proxy.upstream.heads) == 3


async def test_nothing_is_stored_of_a_range_past_the_route() -> None:
    async with wired(Origin(response(WHOLE)), PLAIN_ROUTE) as proxy:
        for _ in range(2):
            await proxy.ask("GET", "Range: bytes=0-4", path="/v2.1/t1/servers/s1")

    assert len(proxy.upstream.heads) == 2
