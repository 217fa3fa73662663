"""A network that fails: TCP relays in front of what the proxy talks to."""

import asyncio
import random
from collections import Counter
from contextlib import suppress

from metaproxy.tasks import TaskSet

STALL_SECONDS = 1.5
MOST_BYTES = 4000
SEVERED_SHARE = 0.5
DRIP_BYTES = 7
DRIP_SECONDS = 0.005

FAULTS = ("refused", "cut", "stalled", "dripping", "garbled", "failing")
GARBAGE = b"\x16\x03\x01-ERR \xff\x00 nonsense\r\n\r\n"
FAILURE = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Relay:
    """Passes connections on to ``port``, and harms ``share`` of them while ``harmful``.

    ``injected`` counts what was done to connections: refused; cut after a random number of bytes; stalled;
    dripping (a few bytes at a time); garbled (the answer is no protocol's); failing (the answer is a 500);
    and severed by ``sever``.
    """

    def __init__(self, port: int, *, share: float, chance: random.Random) -> None:
        self.harmful = False
        self.injected: Counter[str] = Counter()
        self._target = port
        self._share = share
        self._chance = chance
        self._tasks = TaskSet()
        self._open: set[asyncio.StreamWriter] = set()

    async def start(self) -> int:
        """Listen; return the port."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        """End every connection."""
        self._server.close()
        await self._tasks.cancel()

    def sever(self) -> None:
        """Break off some of the connections that are open."""
        for writer in list(self._open):
            if self._chance.random() < SEVERED_SHARE:
                writer.transport.abort()
                self.injected["severed"] += 1

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.start(self._serve(reader, writer), name="relay")

    def _fault(self) -> str:
        if not self.harmful or self._chance.random() > self._share:
            return ""
        fault = self._chance.choice(FAULTS)
        self.injected[fault] += 1
        return fault

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fault = self._fault()
        if fault in ("garbled", "failing"):
            await _answer(reader, writer, GARBAGE if fault == "garbled" else FAILURE)
        if fault in ("refused", "garbled"):
            writer.transport.abort()
        elif fault == "failing":
            writer.close()
        else:
            if fault == "stalled":
                await asyncio.sleep(STALL_SECONDS)
            await self._relay(reader, writer, fault)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: str) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        left = self._chance.randrange(MOST_BYTES) if fault == "cut" else -1
        back = _drip(far_reader, writer) if fault == "dripping" else _pump(far_reader, writer, left)
        pumps = (asyncio.ensure_future(_pump(reader, far_writer, -1)), asyncio.ensure_future(back))
        self._open.add(writer)
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._open.discard(writer)
            far_writer.transport.abort()
            writer.transport.abort()
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: bytes) -> None:
    """Answer the first bytes that come with ``answer``."""
    with suppress(OSError):
        if await reader.read(65536):
            writer.write(answer)
            await writer.drain()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: int) -> None:
    """Pass bytes on until the end, or until ``left`` have passed (-1: no matter how many)."""
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data if left < 0 else data[:left])
            await writer.drain()
            if 0 <= left <= len(data):
                return
            left -= len(data) if left > 0 else 0


async def _drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass bytes on, a few at a time."""
    with suppress(OSError):
        while data := await reader.read(DRIP_BYTES):
            writer.write(data)
            await writer.drain()
            await asyncio.sleep(DRIP_SECONDS)
