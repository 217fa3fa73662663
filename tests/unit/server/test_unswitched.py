"""Offers to speak another protocol (RFC 9110 §7.8) are ignored; what comes behind is read as ever."""

import pytest

from metaproxy.server.edge import EdgeLimits
from metaproxy.server.strictness import is_offer
from tests.unit.server.edge_server import LOOPS, edge_server, run

OFFER = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
LENGTH = b"Content-Length: 3\r\n"
CHUNKS = b"Transfer-Encoding: chunked\r\n"
PLAIN = b"GET /then HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

REQUESTS = {
    "no body": (b"GET /offer HTTP/1.1\r\nHost: a\r\n" + OFFER + b"\r\n"),
    "a length": (b"POST /offer HTTP/1.1\r\nHost: a\r\n" + OFFER + LENGTH + b"\r\nabc"),
    "no length": (b"POST /offer HTTP/1.1\r\nHost: a\r\n" + OFFER + b"Content-Length: 0\r\n\r\n"),
    "chunks": (
        b"POST /offer HTTP/1.1\r\nHost: a\r\n" + OFFER + CHUNKS + b"\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n"
    ),
}


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("offer", REQUESTS.values(), ids=REQUESTS)
@pytest.mark.parametrize("cut", [1, 7, 10_000])
def test_a_request_with_an_offer_and_those_behind_it_are_answered(loop: str, offer: bytes, cut: int) -> None:
    async def scenario() -> None:
        async with edge_server(EdgeLimits()) as server:
            sent = offer + offer + PLAIN
            answer = await server.send_then_read(*(sent[at : at + cut] for at in range(0, len(sent), cut)))

            assert server.app.asked == ["/offer", "/offer", "/then"]
            assert answer.count(b"HTTP/1.1 200 ") == 3
            assert b"HTTP/1.1 101" not in answer

    run(loop, scenario)


def test_a_body_behind_an_offer_is_no_request() -> None:
    async def scenario() -> None:
        async with edge_server(EdgeLimits()) as server:
            smuggled = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
            head = b"POST /offer HTTP/1.1\r\nHost: a\r\n" + OFFER + b"Content-Length: %d\r\n\r\n"
            await server.send_then_read(head % len(smuggled) + smuggled + PLAIN)

            assert server.app.asked == ["/offer", "/then"]

    run("uvloop", scenario)


def test_a_body_behind_an_offer_that_is_no_body_is_refused() -> None:
    async def scenario() -> None:
        async with edge_server(EdgeLimits()) as server:
            server.app.go.clear()
            answer = await server.send_then_read(
                b"POST /offer HTTP/1.1\r\nHost: a\r\n" + OFFER + CHUNKS + b"\r\nxyz\r\n"
            )

            assert answer.startswith(b"HTTP/1.1 400 ")

    run("uvloop", scenario)


@pytest.mark.parametrize(
    ("upgrade", "ignored"),
    [
        (b"h2c", True),
        (b"H2C", True),
        (b"TLS/1.3, HTTP/1.1", True),
        (b"websocket", False),
        (b"WebSocket", False),
        (b"websocket/13", False),
        (b"h2c, websocket", False),
        (b"", False),
    ],
)
def test_which_offers_may_be_ignored(upgrade: bytes, ignored: bool) -> None:
    assert is_offer([(b"host", b"a"), (b"upgrade", upgrade)]) is ignored


def test_connect_makes_no_offer() -> None:
    assert not is_offer([(b"host", b"a")])


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_nobody_who_speaks_http_1_0_is_told_to_continue(version: bytes) -> None:
    async def scenario() -> None:
        async with edge_server(EdgeLimits()) as server:
            head = b"POST / HTTP/%b\r\nHost: a\r\nExpect: 100-continue\r\nConnection: close\r\n" % version
            answer = await server.send_then_read(head + LENGTH + b"\r\n", b"abc")

            assert answer.count(b"HTTP/1.1 200 ") == 1
            assert answer.count(b"HTTP/1.1 100 ") <= (version == b"1.1")

    run("uvloop", scenario)
