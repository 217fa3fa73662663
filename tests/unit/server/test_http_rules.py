"""Rules of RFC 9110 and RFC 9112 for those who stand in between, over real sockets, on both ways."""

import asyncio

import pytest

from tests.unit.cache.wire import Client, wired
from tests.unit.fast_lane.lines import request
from tests.unit.forward.scripted import OK, Peer, answers

SERVERS = "/v2.1/t1/servers/7"
ALICE = "X-Auth-Token: alice"
WAYS = pytest.mark.parametrize("fast", [True, False], ids=["lane", "line"])


async def head(client: Client) -> str:
    async with asyncio.timeout(20):
        return (await client.reader.readuntil(b"\r\n\r\n")).decode()


@WAYS
async def test_empty_lines_before_a_request_are_ignored(fast: bool) -> None:
    async with wired(answers(OK), fast=fast) as proxy:
        client = await proxy.client()
        for _ in range(3):
            client.writer.write(b"\r\n" + request(path=SERVERS, fields=[ALICE]))
            assert (await client.answer()).status == 200


@WAYS
async def test_a_range_and_its_part_pass_as_they_are(fast: bool) -> None:
    part = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-1/9\r\nContent-Length: 2\r\n\r\nok"
    async with wired(answers(part), fast=fast) as proxy:
        client = await proxy.client()
        for _ in range(4):
            client.send("GET", SERVERS, "Range: bytes=0-1", 'If-Range: "a"')
            answer = await client.answer()
            assert (answer.status, answer.fields["content-range"]) == (206, "bytes 0-1/9")
            assert answer.body == b"ok"
        heads = proxy.upstream.heads

    assert all(b"range: bytes=0-1\r\n" in got and b'if-range: "a"\r\n' in got for got in heads)


@WAYS
@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
async def test_204_and_304_have_no_length(status: bytes, fast: bool) -> None:
    async with wired(answers(b"HTTP/1.1 " + status + b"\r\nContent-Length: 9\r\n\r\n"), fast=fast) as proxy:
        client = await proxy.client()
        for _ in range(4):
            client.send("GET", SERVERS, "If-None-Match: *")
            answer = await client.answer()
            assert {"content-length", "transfer-encoding"}.isdisjoint(answer.fields)


@WAYS
async def test_the_answer_to_head_keeps_its_length(fast: bool) -> None:
    async with wired(answers(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"), fast=fast) as proxy:
        client = await proxy.client()
        for _ in range(4):
            client.send("HEAD", SERVERS)
            assert (await client.answer("HEAD")).fields["content-length"] == "9"


@WAYS
async def test_trailers_end_here(fast: bool) -> None:
    async def script(peer: Peer) -> None:
        while True:
            await peer.head()
            await peer.reader.readuntil(b"0\r\n\r\n")
            await peer.send(
                b"HTTP/1.1 200 OK\r\nTrailer: X-End\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"2\r\nok\r\n0\r\nX-End: 1\r\n\r\n"
            )

    async with wired(script, fast=fast) as proxy:
        client = await proxy.client()
        for _ in range(2):
            client.send("POST", SERVERS, "Transfer-Encoding: chunked", "Trailer: X-End")
            client.writer.write(b"2\r\nhi\r\n0\r\nX-End: 1\r\n\r\n")
            answer = await client.answer()
            assert answer.body == b"ok"
            assert {"trailer", "x-end"}.isdisjoint(answer.fields)
        heads = proxy.upstream.heads

    assert not any(b"x-end" in got.lower() or b"trailer" in got.lower() for got in heads)


@WAYS
async def test_whatever_version_comes_http_1_1_is_sent(fast: bool) -> None:
    old = b"HTTP/1.0 200 Whatever\r\nContent-Length: 2\r\n\r\nok"
    async with wired(answers(old), fast=fast) as proxy:
        client = await proxy.client()
        client.writer.write(request(path=SERVERS, version="1.0", fields=[ALICE]))
        found = await head(client)
        got = proxy.upstream.heads[0]

    assert found.startswith("HTTP/1.1 200 OK\r\n")
    assert got.startswith(b"GET /v2.1/t1/servers/7 HTTP/1.1\r\n")


@WAYS
async def test_a_connection_of_http_1_0_is_closed_whatever_it_asks_for(fast: bool) -> None:
    async with wired(answers(OK), fast=fast) as proxy:
        client = await proxy.client()
        fields = [ALICE, "Connection: keep-alive"]
        client.writer.write(request(path=SERVERS, version="1.0", fields=fields) * 2)
        async with asyncio.timeout(20):
            answer = await client.reader.read()

    assert answer.count(b"HTTP/1.1 200") == 1
    assert b"connection: close\r\n" in answer


@WAYS
async def test_max_forwards_of_options_is_one_less_at_each_hop(fast: bool) -> None:
    asked = [("OPTIONS", "5"), ("OPTIONS", "007"), ("OPTIONS", "9" * 5000), ("OPTIONS", "many"), ("GET", "5")]
    async with wired(answers(OK), fast=fast) as proxy:
        client = await proxy.client()
        for method, value in asked:
            client.send(method, SERVERS, f"Max-Forwards: {value}")
            assert (await client.answer()).status == 200
        client.send("OPTIONS", SERVERS)
        await client.answer()
        heads = proxy.upstream.heads

    found = [[line for line in got.split(b"\r\n") if line.startswith(b"max-forwards")] for got in heads]
    # RFC 9110 §7.6.2: the greatest value that is known may stand in place of a greater one.
    expected = [b"4", b"6", b"999999999", b"many", b"5"]
    assert found == [*[[b"max-forwards: " + value] for value in expected], []]


@WAYS
@pytest.mark.parametrize("value", ["0", "000"])
async def test_options_that_must_not_be_forwarded_are_answered_here(value: str, fast: bool) -> None:
    async with wired(answers(OK), fast=fast) as proxy:
        client = await proxy.client()
        for _ in range(3):
            client.send("OPTIONS", SERVERS, f"Max-Forwards: {value}")
            assert (await client.answer()).status == 501
        assert proxy.upstream.heads == []
