"""Faults that other caches had, tried over real sockets."""

import asyncio

import pytest

from metaproxy.cache.settings import CacheRoute
from metaproxy.protocol.caching import dates
from tests.unit.cache.wire import ERROR_ROUTE, ITEM, PATH, PLAIN_ROUTE, Origin, response, wired
from tests.unit.forward.scripted import Peer

BOTH_WAYS = pytest.mark.parametrize("fast", [True, False], ids=["lane", "line"])
WHOLE = b"0123456789"
BROKEN = response(b"down", status="503 Service Unavailable")


@BOTH_WAYS
@pytest.mark.parametrize(
    "field",
    [
        "Content-Length: 0",
        "Content-Length: 4",
        "Content-Type: a/b",
        "Content-Encoding: gzip",
        "Content-Range: bytes 0-1/2",
    ],
)
async def test_a_304_that_describes_a_content_leaves_the_stored_one_as_it_is(field: str, fast: bool) -> None:
    origin = Origin(response(WHOLE, 'ETag: "1"', "Content-Type: text/plain"))
    async with wired(origin, ERROR_ROUTE, fast=fast) as proxy:
        await proxy.ask()
        proxy.wait(2)
        origin.answer = f'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\n{field}\r\n\r\n'.encode()

        for answer in (await proxy.ask(), await proxy.ask()):
            assert (answer.status, answer.body, answer.fields["content-length"]) == (200, WHOLE, "10")
            assert answer.fields["content-type"] == "text/plain"
            assert not {"content-encoding", "content-range"} & answer.fields.keys()


@BOTH_WAYS
@pytest.mark.parametrize("framing", ["plain", "chunked"])
@pytest.mark.parametrize("asked", [("Range: bytes=2-4",), ("Range: bytes=2-4", 'If-Range: "1"')])
@pytest.mark.parametrize(
    ("validated", "expected"),
    [
        (b'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\n\r\n', None),
        (response(b"gone", status="404 Not Found"), (404, b"gone")),
        (response(b"the new one", 'ETag: "2"'), (200, b"the new one")),
    ],
    ids=["304", "404", "200"],
)
async def test_a_range_of_a_stale_answer_is_never_a_part_that_says_to_be_the_whole(
    validated: bytes, expected: tuple[int, bytes] | None, asked: tuple[str, ...], framing: str, fast: bool
) -> None:
    stored = response(WHOLE, 'ETag: "1"')
    if framing == "chunked":
        stored = (
            b'HTTP/1.1 200 OK\r\nETag: "1"\r\nTransfer-Encoding: chunked\r\n\r\na\r\n'
            + WHOLE
            + b"\r\n0\r\n\r\n"
        )
    origin = Origin(stored)
    async with wired(origin, ERROR_ROUTE, fast=fast) as proxy:
        await proxy.ask()
        fresh = await proxy.ask("GET", *asked)
        assert (fresh.status, fresh.body) == (206, WHOLE[2:5])
        proxy.wait(2)
        origin.answer = validated

        answer = await proxy.ask("GET", *asked)
        if expected is not None:
            assert (answer.status, answer.body) == expected
        after = await proxy.ask()

    assert (after.status, after.body) == (expected or (200, WHOLE))


@BOTH_WAYS
@pytest.mark.parametrize("if_range", ['W/"1"', '"2"', "1", "Mon, 02 Nov 2026 10:00:00 GMT", "yesterday"])
async def test_a_range_with_another_validator_gets_the_whole(if_range: str, fast: bool) -> None:
    async with wired(Origin(response(WHOLE, 'ETag: "1"')), fast=fast) as proxy:
        await proxy.ask()

        answer = await proxy.ask("GET", "Range: bytes=2-4", f"If-Range: {if_range}")

    assert (answer.status, answer.body) == (200, WHOLE)


@BOTH_WAYS
async def test_a_stale_404_is_renewed_by_a_fresh_one_and_replaced_by_a_200(fast: bool) -> None:
    route = CacheRoute(path=PATH, ttl=60, negative_ttl=2, stale_while_revalidate=60)
    origin = Origin(response(b"none", status="404 Not Found"))
    async with wired(origin, route, fast=fast) as proxy:
        await proxy.ask()
        proxy.wait(3)
        await proxy.ask()
        renewed = await proxy.ask()
        proxy.wait(3)
        origin.answer = response(b"new")
        await proxy.ask()
        replaced = await proxy.ask()

    assert (renewed.status, renewed.fields["age"]) == (404, "0")
    assert (replaced.status, replaced.body) == (200, b"new")


@BOTH_WAYS
@pytest.mark.parametrize("validator", ["X: y", 'ETag: "1"', "Last-Modified: Mon, 02 Nov 2026 10:00:00 GMT"])
async def test_a_failing_origin_lets_a_stale_answer_be_sent_with_and_without_validators(
    validator: str, fast: bool
) -> None:
    origin = Origin(response(b"old", validator))
    async with wired(origin, ERROR_ROUTE, fast=fast) as proxy:
        await proxy.ask()
        proxy.wait(2)
        origin.answer = BROKEN

        assert [(await proxy.ask()).body for _ in range(3)] == [b"old"] * 3


@BOTH_WAYS
async def test_hop_by_hop_fields_are_not_stored(fast: bool) -> None:
    fields = (
        "Connection: keep-alive, X-Once",
        "X-Once: 1",
        "Keep-Alive: a",
        "Proxy-Authenticate: b",
        "Upgrade: c",
    )
    async with wired(Origin(response(b"ok", *fields, "Trailer: d", "TE: e")), fast=fast) as proxy:
        for answer in (await proxy.ask(), await proxy.ask()):
            told = {"x-once", "keep-alive", "proxy-authenticate", "upgrade", "trailer", "te"}
            assert not told & answer.fields.keys()


@BOTH_WAYS
@pytest.mark.parametrize("field", ["Service", "User-Agent", "accept-language"])
async def test_one_flight_serves_no_two_representations(field: str, fast: bool) -> None:
    class Telling(Origin):
        async def __call__(self, peer: Peer) -> None:
            while True:
                head = await peer.head()
                await self.open.wait()
                asked = b"one" if b": one\r\n" in head else b"two"
                await peer.send(response(asked, f"Vary: {field.upper()}"))

    origin = Telling()
    origin.open.clear()
    async with wired(origin, PLAIN_ROUTE, fast=fast) as proxy:
        clients = [await proxy.client() for _ in range(4)]
        for client, value in zip(clients, ("one", "two", "one", "two"), strict=True):
            client.send("GET", ITEM, f"{field}: {value}")
        await asyncio.sleep(0.05)
        origin.open.set()

        assert [(await client.answer()).body for client in clients] == [b"one", b"two"] * 2
        assert [(await proxy.ask("GET", f"{field}: {value}")).body for value in ("one", "two")] == [
            b"one",
            b"two",
        ]


@BOTH_WAYS
@pytest.mark.parametrize(
    "date", ["Sat, 01 Oct 2022 7:19:16 GMT", "yesterday", "", "Thu, 01 Jan 1970 00:00:00 +0100", "0"]
)
async def test_a_date_that_cannot_be_read_is_the_time_of_arrival(date: str, fast: bool) -> None:
    async with wired(Origin(response(b"ok", f"Date: {date}")), fast=fast) as proxy:
        await proxy.ask()
        proxy.wait(3)
        answer = await proxy.ask()

    assert "; hit" in answer.cache_status
    assert answer.fields["age"] == "3"


@BOTH_WAYS
@pytest.mark.parametrize(
    ("age", "is_stored"),
    [
        ("7200", False),
        ("7200, 0", False),
        ("0, 7200", True),
        ("abc", True),
        ("-7200", True),
        ("", True),
        ("59", True),
    ],
)
async def test_an_age_that_cannot_be_read_is_ignored(age: str, is_stored: bool, fast: bool) -> None:
    async with wired(Origin(response(b"ok", "Cache-Control: max-age=60", f"Age: {age}")), fast=fast) as proxy:
        await proxy.ask()

        assert ("; hit" in (await proxy.ask()).cache_status) is is_stored


@BOTH_WAYS
async def test_the_date_of_a_hit_is_the_origins(fast: bool) -> None:
    async with wired(Origin(), fast=fast) as proxy:
        moment = dates.render(proxy.line.clock.now - 5).decode()
        async with wired(Origin(response(b"ok", f"Date: {moment}")), fast=fast) as other:
            first = await other.ask()
            other.wait(4)
            hit = await other.ask()

    assert first.fields["date"] == hit.fields["date"] == moment
    assert hit.fields["age"] == "9"


async def test_collapsed_reads_of_an_answer_that_is_stale_at_once_each_get_one_of_their_own() -> None:
    origin = Origin(response(b"ok", "Cache-Control: max-age=0"))
    origin.open.clear()
    async with wired(origin, PLAIN_ROUTE) as proxy:
        clients = [await proxy.client() for _ in range(3)]
        for client in clients:
            client.send("GET", ITEM)
        await proxy.flying()
        await asyncio.sleep(0.05)
        origin.open.set()

        assert [(await client.answer()).body for client in clients] == [b"ok"] * 3
        assert len(proxy.upstream.heads) == 3


@BOTH_WAYS
async def test_what_is_personal_in_between_reaches_one_reader_alone(fast: bool) -> None:
    origin = Origin(response(b"for all"))
    async with wired(origin, CacheRoute(path=PATH, ttl=2), fast=fast) as proxy:
        await proxy.ask()
        proxy.wait(3)
        origin.answer = response(b"for one", "Cache-Control: no-cache, no-store", "Set-Cookie: a=1")
        one = await proxy.ask()
        origin.answer = response(b"for all again")
        others = [await proxy.ask() for _ in range(2)]

    assert one.fields["set-cookie"] == "a=1"
    assert [(answer.body, answer.fields.get("set-cookie")) for answer in others] == [
        (b"for all again", None)
    ] * 2


CUT = {
    "at a chunk's end": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    "within a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nhalf",
    "before its length": b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf",
    "before the last line": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
}


@BOTH_WAYS
@pytest.mark.parametrize("conditional", [(), ('If-None-Match: "1"',)], ids=["plain", "conditional"])
@pytest.mark.parametrize("cut", CUT.values(), ids=CUT)
async def test_an_answer_that_is_cut_is_neither_stored_nor_told_as_whole(
    cut: bytes, conditional: tuple[str, ...], fast: bool
) -> None:
    class Cutting(Origin):
        async def __call__(self, peer: Peer) -> None:
            await peer.head()
            await self.open.wait()
            await peer.send(self.answer)
            if self.answer is not cut:
                await super().__call__(peer)

    origin = Cutting(cut)
    origin.open.clear()
    async with wired(origin, PLAIN_ROUTE, fast=fast) as proxy:
        clients = [await proxy.client() for _ in range(3)]
        for client in clients:
            client.send("GET", ITEM, *conditional)
        await proxy.flying()
        origin.open.set()
        for client in clients:
            try:
                answer = await client.answer()
            except asyncio.IncompleteReadError:
                continue
            assert answer.status == 502
        origin.answer = response(b"whole")

        assert (await proxy.ask()).body == b"whole"


@BOTH_WAYS
async def test_an_answer_that_a_client_has_left_is_not_cut(fast: bool) -> None:
    origin = Origin(response(b"x" * 500_000))
    async with wired(origin, PLAIN_ROUTE, fast=fast) as proxy:
        leaving = await proxy.client(receive_buffer=4096)
        origin.open.clear()
        leaving.send("GET", ITEM)
        await proxy.flying()
        leaving.writer.transport.abort()
        origin.open.set()
        await proxy.calm()

        assert len((await proxy.ask()).body) == 500_000
        assert len((await proxy.ask()).body) == 500_000


@BOTH_WAYS
async def test_a_write_ends_all_variants(fast: bool) -> None:
    origin = Origin(response(b"old", "Vary: Accept-Language"))
    async with wired(origin, PLAIN_ROUTE, fast=fast) as proxy:
        for language in ("de", "fr", "de", "fr"):
            await proxy.ask("GET", f"Accept-Language: {language}")
        proxy.wait(30)
        await proxy.ask("PUT", "Content-Length: 0")
        origin.answer = response(b"new", "Vary: Accept-Language")

        bodies = [(await proxy.ask("GET", f"Accept-Language: {language}")).body for language in ("de", "fr")]

    assert bodies == [b"new", b"new"]


@BOTH_WAYS
async def test_no_cache_of_the_origin_means_validation_each_time(
    fast: bool,
) -> None:
    origin = Origin(response(b"ok", "Cache-Control: no-cache", 'ETag: "1"'))
    async with wired(origin, PLAIN_ROUTE, fast=fast) as proxy:
        await proxy.ask()
        origin.answer = b'HTTP/1.1 304 Not Modified\r\nCache-Control: no-cache\r\nETag: "1"\r\n\r\n'
        plain = [await proxy.ask() for _ in range(2)]
        conditional = await proxy.ask("GET", 'If-None-Match: "1"')

    assert [(answer.status, answer.body) for answer in plain] == [(200, b"ok")] * 2
    assert (conditional.status, conditional.body) == (304, b"")
    assert len(proxy.upstream.heads) == 4


@BOTH_WAYS
async def test_a_conditional_read_fills_the_cache(fast: bool) -> None:
    async with wired(Origin(response(b"ok", 'ETag: "1"')), PLAIN_ROUTE, fast=fast) as proxy:
        first = await proxy.ask("GET", 'If-None-Match: "1"')
        second = await proxy.ask()

    assert (first.status, second.body) == (304, b"ok")
    assert "; hit" in second.cache_status


@BOTH_WAYS
async def test_seventeen_variants_are_more_than_are_kept_and_none_is_wrong(fast: bool) -> None:
    class Echoing(Origin):
        async def __call__(self, peer: Peer) -> None:
            while True:
                head = await peer.head()
                asked = head.partition(b"accept-language: ")[2].partition(b"\r\n")[0]
                await peer.send(response(asked, "Vary: Accept-Language"))

    async with wired(Echoing(), PLAIN_ROUTE, fast=fast) as proxy:
        for number in (*range(20), *range(20)):
            proxy.wait(6)
            answer = await proxy.ask("GET", f"Accept-Language: l{number}")
            assert answer.body == b"l%d" % number
