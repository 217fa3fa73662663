"""Many requests of one client that come at once: all are answered, and other clients have turns between."""

import asyncio

import pytest
from starlette.types import ASGIApp, Scope

from metaproxy.fast_lane.passing import Passing
from metaproxy.server.edge import EdgeLimits
from metaproxy.server.protocol import PORTION_BYTES, PORTION_HEADS
from tests.unit.server.edge_server import LOOPS, EdgeServer, edge_server, run
from tests.unit.server.test_pipelining import get, statuses

NAMES = ("/one", "/other")
LAST = b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


class AtOnce:
    """A fast lane that answers every request at once; ``paths`` are those of the requests, in their order."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    def repeat(self, octets: bytes, address: str, scheme: str) -> bytes | Passing | None:
        """Remember nothing."""
        return None

    def answer(self, scope: Scope, *, keep_alive: bool, octets: bytes = b"") -> bytes | Passing | ASGIApp:
        """Answer 200."""
        self.paths.append(scope["path"])
        return b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


def requests_of(client: str, portions: int) -> bytes:
    """Return the requests of ``client``, more than ``portions`` portions of them."""
    request = get(f"/{client}")
    return request * (portions * PORTION_BYTES // len(request)) + LAST


def fast(server: EdgeServer) -> AtOnce:
    lane = server.edge.fast_lane = AtOnce()
    return lane


@pytest.mark.parametrize("loop", LOOPS)
def test_requests_that_come_at_once_are_all_answered_in_their_order(loop: str) -> None:
    async def scenario() -> None:
        async with edge_server(EdgeLimits()) as server:
            lane = fast(server)
            expected = [f"/{number}" for number in range(2500)]

            answer = await server.send_then_read(b"".join(map(get, expected)) + LAST)

            assert lane.paths == [*expected, "/last"]
            assert statuses(answer) == [b"200"] * 2501
            await server.until_nobody_is_connected()

    run(loop, scenario)


@pytest.mark.parametrize("loop", LOOPS)
def test_many_requests_of_one_client_let_others_have_their_turn(loop: str) -> None:
    async def scenario() -> None:
        async with edge_server(EdgeLimits()) as server:
            lane = fast(server)
            with server.connect() as one, server.connect() as other:
                await server.until(lambda: len(server.state.connections) == 2)
                # Nothing is awaited between, so the loop finds the requests of both.
                for name, client in (("one", one), ("other", other)):
                    client.sendall(requests_of(name, 3))
                await asyncio.gather(server.read(one), server.read(other))

            first, second = ([at for at, path in enumerate(lane.paths) if path == name] for name in NAMES)
            assert first[0] < second[-1]
            assert second[0] < first[-1]

    run(loop, scenario)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_few_more_requests_than_a_portion_has_let_others_have_their_turn(loop: str) -> None:
    async def scenario() -> None:
        async with edge_server(EdgeLimits()) as server:
            lane = fast(server)
            with server.connect() as one, server.connect() as other:
                await server.until(lambda: len(server.state.connections) == 2)
                for name, client in (("one", one), ("other", other)):
                    client.sendall(get(f"/{name}") * (2 * PORTION_HEADS) + LAST)
                await asyncio.gather(server.read(one), server.read(other))

            first, second = ([at for at, path in enumerate(lane.paths) if path == name] for name in NAMES)
            assert first[0] < second[-1]
            assert second[0] < first[-1]

    run(loop, scenario)


@pytest.mark.parametrize("loop", LOOPS)
def test_the_octets_behind_the_last_request_are_read_before_the_connection_ends(loop: str) -> None:
    async def scenario() -> None:
        async with edge_server(EdgeLimits()) as server:
            lane = fast(server)

            answer = await server.send_then_read(LAST + get("/1") * (4 * PORTION_BYTES // len(get("/1"))))

            assert lane.paths == ["/last"]
            assert statuses(answer) == [b"200"]
            await server.until_nobody_is_connected()

    run(loop, scenario)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_client_that_leaves_between_two_portions_is_forgotten(loop: str) -> None:
    async def scenario() -> None:
        async with edge_server(EdgeLimits()) as server:
            fast(server)
            with server.connect() as client:
                client.sendall(requests_of("one", 8)[: -len(LAST)])
            await server.until_nobody_is_connected()

    run(loop, scenario)
