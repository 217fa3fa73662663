"""A TCP forwarder between a test and a server: late, deaf, or leading elsewhere."""

import asyncio
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self


@dataclass(eq=False)
class Passage:
    """One connection through the forwarder."""

    sent: bytearray = field(default_factory=bytearray)
    """The first octets of the client."""
    is_swallowed: bool = False

    @property
    def subscribes(self) -> bool:
        """Whether the client listens to channels."""
        return b"SUBSCRIBE" in self.sent


class Forwarder:
    """Accepts on loopback and passes on to ``port``, which a test may change for later connections.

    ``delay_seconds`` is added to each direction. What is swallowed is accepted and goes nowhere: neither end
    learns of it, as when a firewall has forgotten the connection.
    """

    def __init__(self, port: int, *, delay_seconds: float = 0.0) -> None:
        self.port = port
        self.delay_seconds = delay_seconds
        self.passages: list[Passage] = []
        self.url = ""
        self.swallows_new = False
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/0"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    def swallow_subscribers(self) -> None:
        """Swallow from now on what passes on the connections that listen."""
        for passage in self.passages:
            passage.is_swallowed = passage.is_swallowed or passage.subscribes

    def swallow_all(self) -> None:
        """Swallow everything, on new connections too."""
        self.swallows_new = True
        for passage in self.passages:
            passage.is_swallowed = True

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        passage = Passage(is_swallowed=self.swallows_new)
        self.passages.append(passage)
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
        there: asyncio.StreamWriter | None = None
        try:
            back, there = await asyncio.open_connection("127.0.0.1", self.port)
            ways = (self._pass(passage, reader, there, passage.sent), self._pass(passage, back, writer, None))
            ends = [asyncio.ensure_future(way) for way in ways]
            try:
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for end in ends:
                    end.cancel()
                await asyncio.gather(*ends, return_exceptions=True)
        except OSError:
            pass
        except asyncio.CancelledError:
            return  # else asyncio logs it, because it is nobody's to catch
        finally:
            for open_end in (writer, there):
                if open_end is not None:
                    open_end.transport.abort()

    async def _pass(
        self,
        passage: Passage,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        notes: bytearray | None,
    ) -> None:
        loop = asyncio.get_running_loop()
        while octets := await reader.read(2**16):
            if notes is not None and len(notes) < 2**12:
                notes += octets
            if not passage.is_swallowed:
                loop.call_later(self.delay_seconds, self._write, passage, writer, octets)
        if passage.is_swallowed:
            await asyncio.Event().wait()  # the end is swallowed, too

    def _write(self, passage: Passage, writer: asyncio.StreamWriter, octets: bytes) -> None:
        if not passage.is_swallowed and not writer.is_closing():
            writer.write(octets)
