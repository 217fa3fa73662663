"""An upstream that holds one value, slowly: every step of a request takes a random time.

It speaks just enough HTTP/1.1: a write applies at some moment before it is answered, a read looks at some
moment before it is answered, as a compute API with a database does.
"""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Register:
    """A value that is a version: each write that is applied makes it one larger."""

    def __init__(self, *, longest_delay: float, seed: int) -> None:
        self.version = 0
        self.reads = 0
        self._longest_delay = longest_delay
        self._random = random.Random(seed)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                await reader.readexactly(_content_length(head))
                body = await (self._write() if head.startswith(b"put") else self._read())
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
                    % (len(body), body)
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            writer.close()

    async def _write(self) -> bytes:
        await self._pause()
        self.version += 1
        body = _body(self.version)
        await self._pause()
        return body

    async def _read(self) -> bytes:
        await self._pause()
        self.reads += 1
        body = _body(self.version)
        await self._pause()
        return body

    async def _pause(self) -> None:
        await asyncio.sleep(self._random.random() * self._longest_delay)


@asynccontextmanager
async def running(register: Register) -> AsyncIterator[str]:
    """Serve ``register`` on a free port; yield its URL."""
    server = await asyncio.start_server(register.answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def _body(version: int) -> bytes:
    return json.dumps({"meta": {"label": str(version)}}).encode()


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0
