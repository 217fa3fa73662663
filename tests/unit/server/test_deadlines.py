"""How long a body may take, as a rule and over a real socket."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metaproxy.server.deadlines import BODY_BYTES_PER_SECOND, LEAVE_SECONDS, Deadlines, body_deadline
from metaproxy.server.edge import EdgeLimits
from tests.unit.server.edge_server import LOOPS, edge_server, run

RATE = BODY_BYTES_PER_SECOND
CASES = [
    # began, now, bytes so far: may be silent until
    (100.0, 100.0, 0, 130.0),
    (100.0, 110.0, 0, 130.0),
    (100.0, 110.0, RATE * 4, 134.0),
    (100.0, 110.0, RATE * 10, 140.0),
    (100.0, 110.0, RATE * 1000, 140.0),
    (100.0, 1000.0, RATE * 900, 1030.0),
]


@pytest.mark.parametrize(("began", "now", "octets", "deadline"), CASES)
def test_a_body_may_be_silent_and_behind_for_so_long(
    began: float, now: float, octets: int, deadline: float
) -> None:
    assert body_deadline(began, now, 30.0, octets) == deadline


@settings(deadline=None)
@given(st.integers(0, 1 << 30), st.floats(0, 1e6), st.floats(0, 1e6))
def test_no_body_takes_longer_than_its_size_allows(octets: int, began: float, took: float) -> None:
    assert body_deadline(began, began + took, 30.0, octets) <= began + octets / RATE + 30.0


@pytest.mark.parametrize("loop", LOOPS)
def test_a_body_that_drips_is_refused_although_it_is_never_silent(loop: str) -> None:
    async def scenario() -> None:
        async with edge_server(EdgeLimits(body_seconds=0.1)) as server, asyncio.timeout(20):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
            answer = b""
            while not answer:
                writer.write(b"a")
                try:
                    answer = await asyncio.wait_for(reader.read(65536), 0.02)
                except TimeoutError:
                    continue  # nothing yet: the next octet
            writer.close()

            assert answer.startswith(b"HTTP/1.1 408 ")
            await server.until(lambda: server.app.left == ["/"])

    run(loop, scenario)


def test_a_body_of_many_pieces_that_is_quick_is_taken() -> None:
    async def scenario() -> None:
        async with edge_server(EdgeLimits(body_seconds=5.0)) as server, asyncio.timeout(20):
            pieces = [b"a" * 10] * 500
            head = b"PUT / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5000\r\n\r\n"
            answer = await server.send_then_read(head, *pieces)

            assert answer.startswith(b"HTTP/1.1 200 ")

    run("uvloop", scenario)


LIMITS = EdgeLimits(header_seconds=10.0, body_seconds=30.0, idle_seconds=75.0)


@pytest.mark.parametrize(
    ("after", "pressed", "seconds"),
    [
        ("the client connected", False, 10.0),
        ("the client connected", True, 5.0),
        ("an answer", False, 75.0),
        ("an answer", True, 5.0),
        ("a part of a head", True, 10.0),
        ("a body has begun", True, 30.0),
        ("a request is complete", True, float("inf")),
    ],
)
def test_a_client_may_be_silent_for_so_long(after: str, pressed: bool, seconds: float) -> None:
    deadlines, now = Deadlines(LIMITS, 100.0), 100.0
    match after:
        case "an answer":
            deadlines.wait_for_request(now)
        case "a part of a head":
            deadlines.head_began(now)
        case "a body has begun":
            deadlines.body_read(now, 0)
        case "a request is complete":
            deadlines.request_read()
    idle = after in ("the client connected", "an answer")

    passed = [
        deadlines.read_has_passed(now + each, idle=idle, leaving=False, pressed=pressed)
        for each in (min(seconds, 1e6) - 0.1, min(seconds, 1e6) + 0.1)
    ]

    assert passed == [False, seconds < 1e6]


def test_an_idle_connection_is_kept_for_a_moment_when_the_server_leaves() -> None:
    deadlines = Deadlines(LIMITS, 100.0)
    deadlines.wait_for_request(100.0)

    passed = [
        deadlines.read_has_passed(now, idle=True, leaving=True, pressed=False)
        for now in (100.0, 100.5, 100.0 + LEAVE_SECONDS + 0.1)
    ]

    assert passed == [False, False, True]
