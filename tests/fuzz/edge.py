"""The edge as a target: any bytes, in two pieces, from a client that is only a transport."""

import asyncio
import re
from typing import Any

import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from metaproxy.protocol.signature import Signature
from metaproxy.server.edge import Edge, EdgeLimits
from metaproxy.server.protocol import EdgeProtocol
from metaproxy.telemetry.dates import DateField
from metaproxy.telemetry.metrics import Metrics
from metaproxy.telemetry.requests import RequestRecord

ANSWER = re.compile(rb"HTTP/1\.1 (200|400|408|414|431|501|505) ")
PREFIX = b"GET /v2.1/ HTTP/1.1\r\nHost: a\r\n"


class Client(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.written = b""
        self.closing = False

    def write(self, data: Any) -> None:
        """Keep ``data``."""
        self.written += data

    def close(self) -> None:
        """Be closed."""
        self.closing = True

    abort = write_eof = close

    def can_write_eof(self) -> bool:
        """Say that it can be half-closed, which here is closed."""
        return True

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """There is nothing more to deliver to ``protocol``."""

    def is_closing(self) -> bool:
        """Say whether it was closed."""
        return self.closing

    def pause_reading(self) -> None:
        """There is no more to read."""

    resume_reading = pause_reading


def edge(data: bytes) -> None:
    """What becomes a request has a path, a method and one Host; what does not is refused and closed."""
    asyncio.run(_edge(data))
    asyncio.run(_edge(PREFIX + data))


async def _edge(data: bytes) -> None:
    scopes: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    config = uvicorn.Config(app, lifespan="off", log_config=None, ws="none", http="h11", loop="asyncio")
    config.load()
    state, loop, client = ServerState(), asyncio.get_running_loop(), Client()
    shared = Edge(EdgeLimits(), Signature(b"1.1 metaproxy"), RequestRecord(Metrics()), DateField(lambda: 0.0))
    protocol = EdgeProtocol(config, state, {}, loop, edge=shared)
    protocol.connection_made(client)
    half = len(data) // 2
    for piece in (data[:half], data[half:]):
        if piece and not client.closing:
            protocol.data_received(piece)
        await asyncio.gather(*state.tasks)
    _judge(scopes, client)
    protocol.connection_lost(None)


def _judge(scopes: list[Scope], client: Client) -> None:
    for scope in scopes:
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        assert scope["raw_path"].startswith(b"/")
        assert scope["http_version"] in ("1.0", "1.1")
        assert len(hosts) == 1 or (not hosts and scope["http_version"] == "1.0")
    assert not client.written or ANSWER.match(client.written)
    if b"HTTP/1.1 400" in client.written:
        assert client.closing
