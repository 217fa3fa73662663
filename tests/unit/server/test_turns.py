"""Answers as they go over the wire: what is written, and in how many pieces."""

import asyncio
from typing import Any

import pytest
from starlette.types import ASGIApp

from metaproxy.exchange import SCOPE_KEY, ClientDisconnected, Exchange
from metaproxy.server.flow import Flow
from metaproxy.server.turns import BODY_HIGH_WATER, AppTurn, ResponseError
from tests.unit.fast_lane.lines import Wire

START = {"type": "http.response.start", "status": 200}


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    """Answer nothing."""


def turn(
    method: str = "GET",
    *,
    keep_alive: bool = True,
    version: str = "1.1",
    expects: bool = False,
    app: ASGIApp = nothing,
    tasks: "set[asyncio.Task[None]] | None" = None,
) -> tuple[AppTurn, Wire]:
    wire = Wire()
    made = AppTurn(
        app,
        {"type": "http", "method": method, "http_version": version},
        flow=Flow(wire),
        tasks=set() if tasks is None else tasks,
        completed=lambda: None if made.keep_alive else wire.close(),
        keep_alive=keep_alive,
        expects_continue=expects,
    )
    return made, wire


async def send(made: AppTurn, *messages: dict[str, Any]) -> None:
    for message in messages:
        await made.send(message)


def body(data: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


def start(*headers: tuple[bytes, bytes], status: int = 200) -> dict[str, Any]:
    return {**START, "status": status, "headers": list(headers)}


LENGTH_2 = (b"content-length", b"2")

ANSWERS = [
    ("GET", start(LENGTH_2), b"ok", b"content-length: 2\r\n\r\nok"),
    ("GET", start(), b"ok", b"transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
    ("GET", start(), b"", b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("HEAD", start(LENGTH_2), b"", b"content-length: 2\r\n\r\n"),
    ("HEAD", start(LENGTH_2), b"ok", b"content-length: 2\r\n\r\n"),
    ("HEAD", start(), b"", b"HTTP/1.1 200 OK\r\n\r\n"),
    ("DELETE", start(status=204), b"", b"HTTP/1.1 204 No Content\r\n\r\n"),
    ("GET", start(status=304), b"", b"HTTP/1.1 304 Not Modified\r\n\r\n"),
]


@pytest.mark.parametrize(("method", "head", "data", "end"), ANSWERS)
async def test_a_small_answer_is_written_in_one_piece(
    method: str, head: dict[str, Any], data: bytes, end: bytes
) -> None:
    made, wire = turn(method)

    await send(made, head, body(data))
    await asyncio.sleep(0)

    [written] = wire.written
    assert written.endswith(end)
    assert made.response_complete


@pytest.mark.parametrize("fields", [(), ((b"transfer-encoding", b"chunked"),)])
async def test_a_body_of_unknown_length_ends_with_the_connection_for_who_speaks_http_1_0(
    fields: tuple[tuple[bytes, bytes], ...],
) -> None:
    made, wire = turn(version="1.0", keep_alive=False)

    await send(made, start(*fields), body(b"o", more=True), body(b"k"))

    assert b"".join(wire.written) == b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nok"
    assert wire.closed


@pytest.mark.parametrize("more_body", [True, False])
async def test_an_answer_in_place_of_100_continue_is_the_last_unless_the_body_is_here(
    *, more_body: bool
) -> None:
    made, wire = turn("PUT", expects=True)
    made.more_body = more_body

    await send(made, start(LENGTH_2, status=401), body(b"no"))

    assert (b"connection: close" in b"".join(wire.written)) is more_body
    assert wire.closed is more_body


async def test_an_application_does_not_choose_the_framing() -> None:
    made, wire = turn()

    await send(made, start((b"transfer-encoding", b"chunked")), body(b"ok"))

    assert b"".join(wire.written).count(b"transfer-encoding") == 1


async def test_a_head_does_not_wait_for_a_body_that_is_slow_to_come() -> None:
    made, wire = turn()

    await send(made, start(LENGTH_2))
    await asyncio.sleep(0)
    heads = list(wire.written)
    await send(made, body(b"o", more=True), body(b"k"))

    assert len(heads) == 1
    assert wire.written[1:] == [b"o", b"k"]


async def test_the_last_answer_of_a_connection_says_so_once() -> None:
    for headers in ([LENGTH_2], [LENGTH_2, (b"connection", b"close"), (b"x-last", b"1")]):
        made, wire = turn(keep_alive=False)

        await send(made, start(*headers), body(b"ok"))

        assert b"".join(wire.written).count(b"connection: close") == 1
        assert wire.closed


@pytest.mark.parametrize(
    ("messages", "problem"),
    [
        ([body(b"ok")], "not expected"),
        ([start(), start()], "not expected"),
        ([start(LENGTH_2), body(b"o")], "shorter"),
        ([start(LENGTH_2), body(b"okay")], "longer"),
        ([start((b"x", b"a\r\ny: b"))], "line break"),
        ([start((b"x", b"a\nb"))], "line break"),
        ([start((b"x", b"\0"))], "NUL"),
    ],
)
async def test_what_breaks_the_rules_is_not_written(messages: list[dict[str, Any]], problem: str) -> None:
    made, wire = turn()

    with pytest.raises(ResponseError, match=problem):
        await send(made, *messages)

    assert b"y: b" not in b"".join(wire.written)


async def test_a_client_that_is_gone_is_written_nothing() -> None:
    made, wire = turn()
    made.disconnected = True

    with pytest.raises(ClientDisconnected):
        await send(made, start(LENGTH_2), body(b"ok"))

    assert wire.written == []


async def test_an_answer_that_breaks_off_at_once_is_seen_to_have_begun() -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        await send(start(LENGTH_2))
        raise ConnectionError

    made, wire = turn(app=broken)

    await made.run()

    [written] = wire.written
    assert written.endswith(b"content-length: 2\r\n\r\n")
    assert wire.closed


async def fails(scope: Any, receive: Any, send: Any) -> None:
    raise ValueError("a defect")


@pytest.mark.parametrize("app", [fails, nothing])
async def test_a_request_that_the_application_does_not_answer_is_answered_500(app: ASGIApp) -> None:
    made, wire = turn(app=app)

    await made.run()

    written = b"".join(wire.written)
    assert written.startswith(b"HTTP/1.1 500 ")
    assert b"connection: close" in written
    assert wire.closed


async def test_a_request_that_has_begun_ends_though_it_is_cancelled_before_its_first_step() -> None:
    ended: list[str] = []

    async def holds_something(scope: Any, receive: Any, send: Any) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    tasks: set[asyncio.Task[None]] = set()
    made, wire = turn(app=holds_something, tasks=tasks)
    made.scope[SCOPE_KEY] = Exchange("req-1", 0.0)

    made.start()
    tasks.pop().cancel()
    async with asyncio.timeout(20):
        while not wire.closed or tasks:
            await asyncio.sleep(0)

    assert ended == ["cancelled"]


async def test_a_request_that_has_not_begun_does_not_begin_if_it_is_cancelled_before_its_first_step() -> None:
    asked: list[Any] = []

    async def notes(scope: Any, receive: Any, send: Any) -> None:
        asked.append(scope)

    tasks: set[asyncio.Task[None]] = set()
    made, _ = turn(app=notes, tasks=tasks)

    made.start()
    tasks.pop().cancel()
    for _ in range(10):
        await asyncio.sleep(0)

    assert (asked, tasks) == ([], set())


async def test_an_answer_without_an_end_closes_the_connection() -> None:
    async def half(scope: Any, receive: Any, send: Any) -> None:
        await send(start(LENGTH_2))
        await send(body(b"o", more=True))

    made, wire = turn(app=half)

    await made.run()

    assert wire.closed
    assert not made.response_complete


async def test_a_client_that_leaves_is_not_answered_500() -> None:
    made, wire = turn(app=fails)
    made.client_left()

    await made.run()

    assert wire.written == []


async def test_an_application_receives_the_body_in_the_pieces_that_have_come_and_then_the_end() -> None:
    made, _ = turn("PUT")

    made.body_read(b"ab")
    made.body_read(b"cd")
    first = await made.receive()
    made.body_read(b"e")
    made.request_read()
    last = await made.receive()
    made.client_left()

    assert first == {"type": "http.request", "body": b"abcd", "more_body": True}
    assert last == {"type": "http.request", "body": b"e", "more_body": False}
    assert await made.receive() == {"type": "http.disconnect"}


async def test_100_continue_is_sent_when_the_application_asks_for_the_body() -> None:
    made, wire = turn("PUT", expects=True)
    made.body_read(b"ab")

    await made.receive()

    assert wire.written == [b"HTTP/1.1 100 Continue\r\n\r\n"]


async def test_reading_pauses_while_much_of_a_body_waits_for_the_application() -> None:
    flow = Flow(Wire())
    made = AppTurn(nothing, {}, flow=flow, tasks=set(), completed=lambda: None, keep_alive=True)

    made.body_read(bytes(BODY_HIGH_WATER))
    before = flow.read_paused
    made.body_read(b"a")
    after = flow.read_paused
    await made.receive()
    made.client_left()
    await made.receive()

    assert (before, after) == (False, True)
