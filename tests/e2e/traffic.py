"""Clients that never pause, over connections that are kept and over new ones, and an account of it all.

A client ends when the server has told it to: by ``Connection: close`` on a connection that is kept, by
refusing a new one. Whatever was sent on a connection that the server had not closed counts, and what
has no whole answer counts as failed: nothing is tried again, nothing is forgiven.
"""

import asyncio
import itertools
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field

HANG_SECONDS = 40.0


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of request: how the next one is sent, and what its answer must be."""

    name: str
    send: Callable[[asyncio.StreamWriter], Awaitable[None]]
    is_whole: Callable[[int, bytes], bool]


@dataclass(slots=True)
class Account:
    """What became of every request: answered by kind, failed with the reason."""

    answered: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    refused_connections: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, read to its end."""

    status: int
    body: bytes
    is_last: bool


class Traffic:
    """Clients of one port, and their account."""

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        self.account = Account()
        self._port = port
        self._tls = tls

    async def over_one_connection(self, kind: Kind) -> None:
        """Send requests of ``kind`` over one connection until the server says that it closes it."""
        connected = await self._connect()
        if connected is None:
            return
        reader, writer = connected
        try:
            while await self._one(kind, reader, writer):
                pass
        finally:
            writer.close()

    async def over_new_connections(self, kind: Kind) -> None:
        """Send each request of ``kind`` over a connection of its own until none is accepted any more."""
        while (connected := await self._connect()) is not None:
            reader, writer = connected
            try:
                await self._one(kind, reader, writer)
            finally:
                writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        try:
            return await asyncio.open_connection("127.0.0.1", self._port, ssl=self._tls)
        except ConnectionRefusedError:
            self.account.refused_connections += 1
            return None

    async def _one(self, kind: Kind, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Send one request and read its answer; say whether the connection takes another one."""
        try:
            async with asyncio.timeout(HANG_SECONDS):
                await kind.send(writer)
                answer = await read_answer(reader)
        except (OSError, EOFError, TimeoutError) as error:
            self.account.failed.append(f"{kind.name}: {error!r}")
            return False
        if not kind.is_whole(answer.status, answer.body):
            self.account.failed.append(f"{kind.name}: {answer.status} {answer.body[:200]!r}")
            return False
        self.account.answered[kind.name] += 1
        return not answer.is_last


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    """Read one answer to its end; raises IncompleteReadError, an EOFError, where it breaks off."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    status_line, *lines = head.rstrip().split("\r\n")
    fields = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if fields.get("transfer-encoding") == "chunked":
        body = b"".join([chunk async for chunk in _chunks(reader)])
    else:
        body = await reader.readexactly(int(fields["content-length"]))
    return Answer(int(status_line.split()[1]), body, is_last=fields.get("connection") == "close")


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while size := int(await reader.readuntil(b"\r\n"), 16):
        yield await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readexactly(2)


def numbered(template: str) -> Iterator[str]:
    """Yield ``template`` with a number of its own each time."""
    return (template.format(number) for number in itertools.count())
