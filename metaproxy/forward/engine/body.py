"""A response body on its way from the connection to its reader, in bounded memory."""

import asyncio
from collections import deque
from typing import Protocol

import httpx

HIGH_WATER_BYTES = 65536
LOW_WATER_BYTES = 16384


class BodySource(Protocol):
    """The source of a body."""

    def pause(self) -> None:
        """Read no more for now."""

    def resume(self) -> None:
        """Go on reading."""

    def awaited(self) -> None:
        """A reader waits for bytes."""

    def abandon(self) -> None:
        """Nobody will read the rest."""


class ResponseBody(httpx.AsyncByteStream):
    """Bytes received and not yet read.

    Above ``HIGH_WATER_BYTES`` the source is paused, so at most that much and one read of the socket
    stand here. An error shows after what came before it.
    """

    def __init__(self, source: BodySource) -> None:
        self._source = source
        self._chunks: deque[bytes] = deque()
        self._complete = False
        self._error: Exception | None = None
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None
        self.buffered = 0

    def feed(self, data: bytes) -> None:
        """Take bytes from the source."""
        self._chunks.append(data)
        self.buffered += len(data)
        if self.buffered > HIGH_WATER_BYTES and not self._paused:
            self._paused = True
            self._source.pause()
        self._wake()

    def finish(self, error: Exception | None = None) -> None:
        """The body is complete, or broke off with ``error``."""
        if self._complete or self._error is not None:
            return
        self._complete, self._error = error is None, error
        if self._paused:
            self._paused = False
            self._source.resume()
        self._wake()

    def __aiter__(self) -> "ResponseBody":
        return self

    async def __anext__(self) -> bytes:
        while not self._chunks:
            if self._error is not None:
                raise self._error
            if self._complete:
                raise StopAsyncIteration
            await self._more()
        chunk = self._chunks.popleft()
        self.buffered -= len(chunk)
        if self._paused and self.buffered <= LOW_WATER_BYTES:
            self._paused = False
            self._source.resume()
        return chunk

    async def aclose(self) -> None:
        """Give up what is not yet read; a connection with an unread body cannot be used again."""
        self._chunks.clear()
        if not self._complete and self._error is None:
            self._error = httpx.StreamClosed()
            self._source.abandon()

    async def _more(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        self._source.awaited()
        await self._waiter

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
