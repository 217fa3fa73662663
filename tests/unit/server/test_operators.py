"""Connections to the operator's listener: how many there may be, and how long half a request is kept."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import uvicorn
from uvicorn.server import ServerState

from metaproxy.server.operators import HEAD_BYTES, MOST_OPERATORS, OperatorProtocol, Operators
from tests.unit.server.edge_server import LOOPS, App, run

WHOLE = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
HALVES = {
    "nothing": b"",
    "half a head": b"GET /healthz HTTP/1.1\r\nHo",
    "half a body": b"POST /reload HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n12",
    "half a head after a whole request": WHOLE + b"GET /",
}


class OperatorServer:
    """A server of operators' connections on a port of its own."""

    def __init__(self, request_seconds: float) -> None:
        self.operators = Operators(request_seconds=request_seconds)
        self.app = App()
        self._config = uvicorn.Config(self.app, ws="none", log_config=None, access_log=False)
        self._state = ServerState()
        self.port = 0

    async def start(self) -> asyncio.Server:
        """Listen."""
        self._config.load()
        protocol = partial(
            OperatorProtocol, self._config, self._state, app_state={}, operators=self.operators
        )
        server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def sent(self, octets: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect and send ``octets``."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(octets)
        return reader, writer


@asynccontextmanager
async def operator_server(request_seconds: float = 60.0) -> AsyncIterator[OperatorServer]:
    server = OperatorServer(request_seconds)
    listening = await server.start()
    try:
        yield server
    finally:
        listening.close()


async def _end(reader: asyncio.StreamReader) -> bytes:
    """All that comes until the server closes, which may be a reset."""
    received = b""
    try:
        while octets := await asyncio.wait_for(reader.read(65536), 20):
            received += octets
    except ConnectionResetError:
        pass
    return received


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("half", HALVES.values(), ids=HALVES)
def test_a_request_that_does_not_come_whole_is_given_up(half: bytes, loop: str) -> None:
    async def scenario() -> None:
        async with operator_server(request_seconds=0.2) as server:
            reader, writer = await server.sent(half)

            await _end(reader)

            assert len(server.operators) == 0
            writer.close()

    run(loop, scenario)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("sent", [*HALVES.values(), WHOLE], ids=[*HALVES, "a whole request"])
def test_however_many_wait_the_next_one_is_answered(sent: bytes, loop: str) -> None:
    async def scenario() -> None:
        async with operator_server() as server:
            waiting = [await server.sent(sent) for _ in range(3 * MOST_OPERATORS)]

            reader, writer = await server.sent(WHOLE)

            assert (await asyncio.wait_for(reader.readline(), 20)).startswith(b"HTTP/1.1 200")
            assert len(server.operators) <= MOST_OPERATORS
            for _, one in [*waiting, (reader, writer)]:
                one.close()

    run(loop, scenario)


@pytest.mark.parametrize("loop", LOOPS)
def test_however_many_pipeline_the_next_one_is_answered(loop: str) -> None:
    async def scenario() -> None:
        async with operator_server() as server:
            server.app.go.clear()
            waiting = [await server.sent(WHOLE * 9) for _ in range(MOST_OPERATORS)]
            while len(server.app.asked) < MOST_OPERATORS:
                await asyncio.sleep(0.01)

            reader, writer = await server.sent(WHOLE)
            while len(server.app.asked) <= MOST_OPERATORS:
                await asyncio.sleep(0.01)
            server.app.go.set()

            assert (await asyncio.wait_for(reader.readline(), 20)).startswith(b"HTTP/1.1 200")
            for _, one in [*waiting, (reader, writer)]:
                one.close()

    run(loop, scenario)


@pytest.mark.parametrize("loop", LOOPS)
def test_who_is_being_answered_is_left_alone(loop: str) -> None:
    async def scenario() -> None:
        async with operator_server() as server:
            server.app.go.clear()
            reader, writer = await server.sent(WHOLE)
            while not server.app.asked:
                await asyncio.sleep(0.01)
            waiting = [await server.sent(b"") for _ in range(2 * MOST_OPERATORS)]

            server.app.go.set()

            assert (await asyncio.wait_for(reader.readline(), 20)).startswith(b"HTTP/1.1 200")
            for _, one in [*waiting, (reader, writer)]:
                one.close()

    run(loop, scenario)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_head_has_a_bound(loop: str) -> None:
    async def scenario() -> None:
        async with operator_server() as server:
            reader, writer = await server.sent(b"GET / HTTP/1.1\r\nX: " + b"y" * (HEAD_BYTES + 1))

            assert await _end(reader) == b""
            assert len(server.operators) == 0
            writer.close()

    run(loop, scenario)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_peer_that_does_not_read_is_given_up(loop: str) -> None:
    async def scenario() -> None:
        async with operator_server(request_seconds=0.2) as server:
            _, writer = await server.sent(b"GET /healthz?4000000 HTTP/1.1\r\nHost: a\r\n\r\n")
            while len(server.operators) == 0:
                await asyncio.sleep(0.01)
            writer.transport.pause_reading()  # type: ignore[attr-defined] # asyncio's transports read too

            for _ in range(500):
                if len(server.operators) == 0:
                    break
                await asyncio.sleep(0.02)

            assert len(server.operators) == 0
            writer.close()

    run(loop, scenario)
