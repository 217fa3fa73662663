"""An upstream that does what a script says, byte by byte, over real sockets."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import httpx

from metaproxy.tasks import TaskSet

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Peer:
    """The upstream's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.heads: list[bytes] = []

    async def head(self) -> bytes:
        """Read the head of a request."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        return head

    async def send(self, data: bytes) -> None:
        """Send bytes, as fast as the other end takes them."""
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        """Break the connection off with a RST."""
        linger = struct.pack("ii", 1, 0)
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.writer.transport.abort()

    async def closed(self) -> None:
        """Wait until the other end has closed the connection."""
        while await self.reader.read(65536):
            pass


Script = Callable[[Peer], Awaitable[None]]


class Upstream:
    """A running upstream: where it listens, and who has connected."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.peers: list[Peer] = []

    @property
    def url(self) -> httpx.URL:
        return httpx.URL(self.origin)

    @property
    def heads(self) -> list[bytes]:
        """Every request's head, connection by connection."""
        return [head for peer in self.peers for head in peer.heads]


@asynccontextmanager
async def upstream(*scripts: Script, unix: str = "", **server: Any) -> AsyncIterator[Upstream]:
    """Run an upstream: the first connection gets the first script, the last script all that follow."""
    tasks = TaskSet()
    running = Upstream(f"unix:{unix}")
    left = list(scripts)

    async def serve(peer: Peer) -> None:
        script = left.pop(0) if len(left) > 1 else left[0]
        try:
            await script(peer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            peer.writer.close()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        running.peers.append(peer)
        tasks.start(serve(peer), name="scripted upstream")

    if unix:
        listening = await asyncio.start_unix_server(connected, unix, **server)
    else:
        listening = await asyncio.start_server(connected, "127.0.0.1", 0, **server)
        scheme = "https" if server.get("ssl") else "http"
        running.origin = f"{scheme}://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield running
    finally:
        listening.close()
        for peer in running.peers:
            # asyncio cannot abort what has flushed its last bytes and closed.
            with suppress(AttributeError):
                peer.writer.transport.abort()
        await tasks.cancel()


def answers(*responses: bytes, close: bool = False) -> Script:
    """A script that answers one request after another with ``responses``, the last one again and again."""

    async def script(peer: Peer) -> None:
        left = list(responses)
        while True:
            await peer.head()
            await peer.send(left.pop(0) if len(left) > 1 else left[0])
            if close:
                return

    return script


class Chunks(httpx.AsyncByteStream):
    """A request body made of chunks, which may come from anywhere."""

    def __init__(self, chunks: Iterable[bytes] | AsyncIterator[bytes]) -> None:
        self.chunks = chunks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if isinstance(self.chunks, AsyncIterator):
            async for chunk in self.chunks:
                yield chunk
        else:
            for chunk in self.chunks:
                yield chunk


def request(
    url: httpx.URL,
    method: str = "GET",
    target: bytes = b"/",
    headers: Iterable[tuple[bytes, bytes]] = (),
    body: Iterable[bytes] | AsyncIterator[bytes] | None = None,
) -> httpx.Request:
    """A request as the forwarder makes it; Host alone is added."""
    return httpx.Request(
        method,
        url,
        headers=[(b"host", b"compute.example"), *headers],
        stream=httpx.ByteStream(b"") if body is None else Chunks(body),
        extensions={"target": target},
    )


def body_of(response: httpx.Response) -> httpx.AsyncByteStream:
    """The body of a response, to be read as it comes."""
    return cast("httpx.AsyncByteStream", response.stream)


async def read(response: httpx.Response) -> bytes:
    """The whole body of a response."""
    return b"".join([chunk async for chunk in body_of(response)])
