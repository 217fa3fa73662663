"""A server of the edge in the loop of a test, and a client in a thread that sends before it reads."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import uvicorn
import uvloop
from starlette.types import Message, Receive, Scope, Send
from uvicorn.server import ServerState

from metaproxy.config.addresses import ListenAddress
from metaproxy.protocol.signature import Signature
from metaproxy.server.deadlines import sweep
from metaproxy.server.edge import Edge, EdgeLimits
from metaproxy.server.listeners import bind, port_of
from metaproxy.server.protocol import EdgeProtocol
from metaproxy.tasks import TaskSet
from metaproxy.telemetry.dates import DateField
from metaproxy.telemetry.metrics import Metrics
from metaproxy.telemetry.requests import RequestRecord

PATIENCE_SECONDS = 60.0
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


class App:
    """Answers 200 with the path, once ``go`` is set; ``/early/…`` 413 before the body, and the last answer.

    ``asked`` are the paths in their order, ``left`` those whose client has gone; the query is the length
    of the body.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.left: list[str] = []
        self.go = asyncio.Event()
        self.go.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        self.asked.append(path)
        if path.startswith("/early"):
            await _answer(send, 413, b"x" * int(scope["query_string"] or b"5"), (b"connection", b"close"))
            return
        message = await receive()
        while message.get("more_body"):
            message = await receive()
        if message["type"] == "http.request":
            message = await self._go_or_gone(receive)
        if message["type"] == "http.disconnect":
            self.left.append(path)
        else:
            await _answer(send, 200, (path.encode() * int(scope["query_string"] or b"1")))

    async def _go_or_gone(self, receive: Receive) -> Message:
        waits = [asyncio.ensure_future(self.go.wait()), asyncio.ensure_future(receive())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        return {"type": "go" if self.go.is_set() else "http.disconnect"}


async def _answer(send: Send, status: int, body: bytes, *fields: tuple[bytes, bytes]) -> None:
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [length, *fields]})
    await send({"type": "http.response.body", "body": body})


@dataclass
class EdgeServer:
    """One that runs."""

    port: int
    edge: Edge
    app: App
    state: ServerState
    tls: ssl.SSLContext | None = field(default=None)
    """With which clients connect."""

    async def send_then_read(self, *sent: bytes) -> bytes:
        """Send everything before reading anything; return all that comes until the server closes."""
        return await asyncio.to_thread(self._send_then_read, sent)

    def _send_then_read(self, sent: tuple[bytes, ...]) -> bytes:
        with self.connect() as client:
            for piece in sent:
                client.sendall(piece)
            return _rest(client)

    def connection(self) -> EdgeProtocol:
        """Return the only connection."""
        connections: set[Any] = self.state.connections
        [connection] = connections
        assert isinstance(connection, EdgeProtocol)
        return connection

    async def read(self, client: socket.socket) -> bytes:
        """Return all that comes until the server closes."""
        return await asyncio.to_thread(_rest, client)

    def connect(self) -> socket.socket:
        """Return a new connection, as a blocking socket."""
        client = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_SECONDS)
        return client if self.tls is None else self.tls.wrap_socket(client, server_hostname="127.0.0.1")

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until ``condition`` holds."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition():
                await asyncio.sleep(0.005)

    async def until_nobody_is_connected(self) -> None:
        await self.until(lambda: not self.state.connections)


def _rest(client: socket.socket) -> bytes:
    return b"".join(iter(lambda: client.recv(65536), b""))


@asynccontextmanager
async def edge_server(
    limits: EdgeLimits, *, tls: tuple[ssl.SSLContext, ssl.SSLContext] | None = None, send_buffer: int = 0
) -> AsyncIterator[EdgeServer]:
    """Run a server until the end of the block; ``tls`` are the contexts of server and client."""
    app, state, loop, tasks = App(), ServerState(), asyncio.get_running_loop(), TaskSet()
    edge = Edge(limits, Signature(b"1.1 metaproxy"), RequestRecord(Metrics()), DateField(lambda: 0.0))
    config = uvicorn.Config(app, lifespan="off", log_config=None, ws="none")
    config.load()
    listener = bind(ListenAddress("127.0.0.1", 0))
    if send_buffer:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    server = await loop.create_server(
        lambda: EdgeProtocol(config, state, {}, loop, edge=edge), sock=listener, ssl=tls[0] if tls else None
    )
    tasks.start(sweep(state.connections, 0.02), name="sweep")
    try:
        yield EdgeServer(port_of(listener), edge, app, state, tls[1] if tls else None)
    finally:
        await tasks.cancel()
        server.close()
        connections: list[Any] = list(state.connections)
        for connection in connections:
            connection.transport.abort()
        with suppress(TimeoutError):
            await asyncio.wait_for(server.wait_closed(), 20)


def run(loop: str, scenario: Callable[[], Awaitable[None]]) -> None:
    """Run ``scenario`` in the event loop called ``loop``."""

    async def whole() -> None:
        await scenario()

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(whole())
