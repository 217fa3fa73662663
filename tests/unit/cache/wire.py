"""A line with a cache between real sockets: an origin that answers as it is told, and clients."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from metaproxy.cache.settings import CacheRoute
from metaproxy.forward.proxy import Forward
from metaproxy.forward.transport import UpstreamTransport
from tests.unit.fast_lane.lines import CAROLS_TOKEN, ITEM, TOKEN, Clock, Line, request
from tests.unit.forward.scripted import Peer, Upstream, upstream

__all__ = ["CAROLS_TOKEN", "ITEM", "TOKEN"]

PATH = "/v2.1/{tenant_id}/images/{image_id}/metadata/{key}"
STALE_ROUTE = CacheRoute(path=PATH, ttl=1, stale_while_revalidate=60, stale_if_error=60)
ERROR_ROUTE = CacheRoute(path=PATH, ttl=1, stale_if_error=60)
PLAIN_ROUTE = CacheRoute(path=PATH, ttl=60)


def response(body: bytes = b"old", *fields: str, status: str = "200 OK") -> bytes:
    """Return an answer whose Content-Length is right."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@dataclass
class Origin:
    """Answers each request with ``answer``, when it is ``open``; to HEAD without the body."""

    answer: bytes = field(default_factory=response)
    to_head: bytes | None = None
    answered: int = 0

    def __post_init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self, peer: Peer) -> None:
        while True:
            head = await peer.head()
            await self.open.wait()
            answer = self.answer
            if head.startswith(b"HEAD"):
                answer = self.to_head or self.answer.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
            self.answered += 1
            await peer.send(answer)


@dataclass
class Answer:
    status: int
    fields: dict[str, str]
    body: bytes

    @property
    def cache_status(self) -> str:
        return self.fields["cache-status"]


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, method: str, path: str, *fields: str, token: str = TOKEN) -> None:
        self.writer.write(request(method, path, fields=[f"X-Auth-Token: {token}", *fields]))

    async def answer(self, method: str = "GET") -> Answer:
        """Read one answer; asyncio.IncompleteReadError if it breaks off."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.rstrip().split("\r\n")
        fields: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(": ")
            fields[name] = f"{fields[name]}, {value}" if name in fields else value
        status = int(first.split()[1])
        body = b"" if method == "HEAD" or status in (204, 304) else await self._body(fields)
        return Answer(status, fields, body)

    async def _body(self, fields: dict[str, str]) -> bytes:
        if "content-length" in fields:
            return await self.reader.readexactly(int(fields["content-length"]))
        body = b""
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            body += await self.reader.readexactly(size)
            await self.reader.readline()
        await self.reader.readline()
        return body


class Wired:
    """The proxy between the sockets."""

    def __init__(self, line: Line, upstream_: Upstream, port: int) -> None:
        self.line = line
        self.upstream = upstream_
        self._port = port
        self.clients: list[Client] = []
        self._kept: Client | None = None

    @property
    def methods(self) -> list[str]:
        """The methods of the requests that the origin got."""
        return [head.split(b" ")[0].decode() for head in self.upstream.heads]

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.line.clock.now += seconds

    async def client(self, *, receive_buffer: int = 0) -> Client:
        """Connect; a small ``receive_buffer`` holds back what its client does not read."""
        sock = socket.socket()
        sock.setblocking(False)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self._port))
        reader, writer = await asyncio.open_connection(sock=sock, limit=max(receive_buffer, 65536))
        client = Client(reader, writer)
        self.clients.append(client)
        return client

    async def ask(self, method: str = "GET", *fields: str, path: str = ITEM, token: str = TOKEN) -> Answer:
        """Send a request on a connection that is kept, and wait until nothing is under way any more."""
        client = self._kept = self._kept or await self.client()
        client.send(method, path, *fields, token=token)
        answer = await client.answer(method)
        await self.calm()
        return answer

    async def calm(self) -> None:
        """Wait until no flight is under way."""
        async with asyncio.timeout(20):
            while self.line.cache.inventory.statistics().flights:
                await asyncio.sleep(0.001)

    async def flying(self, count: int = 1) -> None:
        """Wait until the origin has ``count`` requests."""
        async with asyncio.timeout(20):
            while len(self.upstream.heads) < count:
                await asyncio.sleep(0.001)


@asynccontextmanager
async def wired(origin: Any, *routes: CacheRoute, fast: bool = True, **options: Any) -> AsyncIterator[Wired]:
    """Yield a proxy in front of ``origin``, a script for every connection."""
    async with upstream(origin) as running:
        transport = UpstreamTransport(connect_timeout=60, read_timeout=60)
        clock = Clock()
        forward = Forward(transport, targets=[running.origin], clock=clock)
        line = Line(fast=fast, forward=forward, cache_routes=routes or (PLAIN_ROUTE,), clock=clock, **options)
        server = await line.listen()
        proxy = Wired(line, running, server.sockets[0].getsockname()[1])
        try:
            yield proxy
        finally:
            for client in proxy.clients:
                client.writer.transport.abort()
            server.close()
            await line.cache.close()
            await forward.close()
