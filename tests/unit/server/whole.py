"""A whole application behind the edge, on real sockets in the loop of a test, and its upstream."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from metaproxy.app import create_app
from metaproxy.config.addresses import ListenAddress
from metaproxy.config.model import Config
from metaproxy.server.edge import Edge
from metaproxy.server.listeners import bind, port_of
from metaproxy.server.protocol import EdgeProtocol
from metaproxy.server.serving import edge_limits, edge_of
from metaproxy.server.switch import Switch

PATIENCE_SECONDS = 60.0
TOKEN = "f064c46a782c444cb4ba4b6434288f7c"
ITEM = "/v2.1/p1/images/i1/metadata/k"


@dataclass
class Answer:
    """An answer as the client gets it; names in lower case, the last of a name."""

    status: int
    fields: dict[str, str]
    body: bytes


@dataclass
class RawUpstream:
    """Answers every request with ``answer``, and keeps the heads that it got."""

    port: int = 0
    answer: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    heads: list[dict[str, list[str]]] = field(default_factory=list)
    writers: set[asyncio.StreamWriter] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection."""
        self.writers.add(writer)
        try:
            while True:
                octets = await reader.readuntil(b"\r\n\r\n")
                head = fields_of(octets)
                await reader.readexactly(int(head.get("content-length", ["0"])[0]))
                if b" /v2.1/p1/" in octets:  # no check of health
                    self.heads.append(head)
                writer.write(self.answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()
        self.writers.discard(writer)

    async def end(self) -> None:
        """Close every connection, and wait until none is served."""
        while self.writers:
            for writer in self.writers:
                writer.close()
            await asyncio.sleep(0)

    def got(self, name: str) -> list[list[str]]:
        """Return the values of the field ``name`` in each head."""
        return [head.get(name, []) for head in self.heads]


class RawClient:
    """One connection to the edge, on which exact octets are sent."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(self, *lines: str, target: str = f"GET {ITEM}", body: bytes = b"") -> Answer:
        """Send a request with these header lines; return its answer."""
        head = "\r\n".join([f"{target} HTTP/1.1", "Host: compute.example", *lines, "", ""])
        self._writer.write(head.encode("latin-1") + body)
        async with asyncio.timeout(PATIENCE_SECONDS):
            found = await self._reader.readuntil(b"\r\n\r\n")
            while found.startswith(b"HTTP/1.1 100"):
                found = await self._reader.readuntil(b"\r\n\r\n")
            fields = {name: values[-1] for name, values in fields_of(found).items()}
            if "transfer-encoding" in fields:
                content = await self._reader.readuntil(b"0\r\n\r\n")
            else:
                content = await self._reader.readexactly(int(fields.get("content-length", "0")))
        return Answer(int(found.split()[1]), fields, content)

    async def statuses(self, *lines: str, times: int = 4) -> list[int]:
        """Send the same request again and again; return the statuses."""
        return [(await self.ask(*lines)).status for _ in range(times)]

    def close(self) -> None:
        """Leave."""
        self._writer.close()


class Wire(asyncio.Transport):
    """A transport whose peer has any address; it keeps what is written."""

    def __init__(self, address: str) -> None:
        super().__init__({"peername": (address, 40000), "sockname": ("192.0.2.1", 8774)})
        self.written = b""
        self._closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Keep ``data``."""
        self.written += bytes(data)

    def can_write_eof(self) -> bool:
        """Say that only the whole connection can be closed."""
        return False

    def is_closing(self) -> bool:
        """Say whether it was closed."""
        return self._closing

    def close(self) -> None:
        """Close."""
        self._closing = True

    abort = close

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Let another protocol take over; nothing more comes."""


def fields_of(head: bytes) -> dict[str, list[str]]:
    """Return the fields of a head, names in lower case, values as they stand behind the first blank."""
    found: dict[str, list[str]] = {}
    for line in head.decode("latin-1").split("\r\n")[1:-2]:
        name, _, value = line.partition(":")
        found.setdefault(name.lower(), []).append(value.removeprefix(" "))
    return found


@dataclass
class Site:
    """A proxy that runs, and its upstream."""

    upstream: RawUpstream
    edge: Edge
    switch: Switch
    port: int
    path: Path
    connection: Callable[[], EdgeProtocol]
    clients: AsyncExitStack

    async def client(self, *, unix: bool = False, host: str = "127.0.0.1") -> RawClient:
        """Connect."""
        if unix:
            client = RawClient(*await asyncio.open_unix_connection(str(self.path)))
        else:
            client = RawClient(*await asyncio.open_connection(host, self.port))
        self.clients.callback(client.close)
        return client

    async def reload(self, **sections: Any) -> None:
        """Take another configuration into use."""
        config = config_of(self.upstream, sections)
        application = create_app(config, self.switch.application)
        await application.start()
        application.take_over()
        self.edge.limits = edge_limits(config)
        self.switch.replace(application)


def config_of(upstream: RawUpstream, sections: dict[str, Any]) -> Config:
    """Return a configuration with one token and ``sections``."""
    user = {"id": "u1", "name": "alice"}
    tokens = [{"token": TOKEN, "user": user, "project": {"id": "p1", "name": "p1"}, "roles": ["member"]}]
    return Config.model_validate(
        {
            "upstream": {"targets": [f"http://127.0.0.1:{upstream.port}"]},
            "server": {},
            "identity": {"provider": "static", "tokens": tokens},
            "logging": {"access": False},
            **sections,
        }
    )


@asynccontextmanager
async def site(folder: Path, *, listen: str = "127.0.0.1", **sections: Any) -> AsyncIterator[Site]:
    """Run a proxy on a TCP port and on a unix socket."""
    async with AsyncExitStack() as stack:
        upstream = RawUpstream()
        origin = await asyncio.start_server(upstream.serve, "127.0.0.1", 0)
        stack.push_async_callback(upstream.end)
        stack.callback(origin.close)
        upstream.port = port_of(origin.sockets[0])
        application = create_app(config_of(upstream, sections))
        await application.start()
        edge, switch = edge_of(application), Switch(application)
        edge.fast_lane = switch
        settings = uvicorn.Config(switch, lifespan="off", log_config=None, ws="none")
        settings.load()
        state, loop = ServerState(), asyncio.get_running_loop()

        def protocol() -> EdgeProtocol:
            return EdgeProtocol(settings, state, {}, loop, edge=edge)

        path = folder / "data.sock"
        tcp = await loop.create_server(protocol, sock=bind(ListenAddress(listen, 0)))
        unix = await loop.create_unix_server(protocol, str(path))
        clients = AsyncExitStack()
        try:
            yield Site(upstream, edge, switch, port_of(tcp.sockets[0]), path, protocol, clients)
        finally:
            await clients.aclose()
            tcp.close()
            unix.close()
            for connection in list(state.connections):
                connection.transport.abort()
            await asyncio.gather(tcp.wait_closed(), unix.wait_closed())
            await switch.close()
