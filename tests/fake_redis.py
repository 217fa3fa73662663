"""A server that speaks Redis's protocol and gives the errors that a real one gives only in trouble."""

import asyncio
from collections import Counter
from types import TracebackType
from typing import Self


class FakeRedis:
    """Answers PING with PONG and everything else with OK, unless ``replies`` has an error for the command."""

    def __init__(self) -> None:
        self.replies: dict[str, str] = {}
        self.raw: dict[str, bytes] = {}
        """Whole replies by command, as they go over the wire."""
        self.asked: Counter[str] = Counter()
        self._asked = asyncio.Event()
        self._server: asyncio.Server | None = None
        self.url = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/0"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def until_asked(self, command: str, times: int) -> None:
        """Wait until ``command`` has been asked so often."""
        while self.asked[command] < times:
            self._asked.clear()
            await asyncio.wait_for(self._asked.wait(), 20)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readline():
                words = [await self._word(reader) for _ in range(int(head[1:]))]
                name = words[0].decode().upper()
                self.asked[name] += 1
                self._asked.set()
                error = self.replies.get(name)
                plain = b"+PONG\r\n" if name == "PING" else b"+OK\r\n"
                writer.write(self.raw.get(name) or (f"-{error}\r\n".encode() if error else plain))
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _word(self, reader: asyncio.StreamReader) -> bytes:
        length = int((await reader.readline())[1:])
        return (await reader.readexactly(length + 2))[:-2]
