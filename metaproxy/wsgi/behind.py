"""A WSGI application as the last application of the line, run in threads.

The line may ask for an answer when no request of a client waits for it (a stored answer that is renewed),
so the application runs in threads of its own, not in the server's.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from io import BufferedReader, RawIOBase
from typing import Any, TypeVar

from starlette.types import Message, Receive, Scope, Send

from metaproxy.exchange import ClientDisconnected
from metaproxy.wsgi.environ import environ_of
from metaproxy.wsgi.types import ExcInfo, WSGIApp

T = TypeVar("T")


class Behind:
    """An ASGI application that answers with what a WSGI application answers.

    Args:
        threads: how many requests it answers at the same time; further ones wait.
    """

    def __init__(self, app: WSGIApp, *, threads: int) -> None:
        self._app = app
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="metaproxy-wsgi")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI interface."""
        loop = asyncio.get_running_loop()
        answer = _Answer(self._app, scope, receive, send, loop)
        await loop.run_in_executor(self._threads, answer.run)


class _Answer:
    """One request to the application, in a thread."""

    def __init__(
        self, app: WSGIApp, scope: Scope, receive: Receive, send: Send, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._app = app
        self._scope = scope
        self._receive = receive
        self._send = send
        self._loop = loop
        self._head: Message | None = None
        self._started = False

    def run(self) -> None:
        """Let the application answer, piece by piece; raises what it raises."""
        environ = environ_of(self._scope)
        environ["wsgi.input"] = BufferedReader(_Input(self._next_chunk))
        # The chunks of a body may have come without a length: the input ends where it ends.
        environ["wsgi.input_terminated"] = True
        environ["wsgi.multithread"] = True
        pieces = self._app(environ, self._start_response)
        try:
            for piece in pieces:
                if piece:
                    self._write(piece)
            self._write(b"", more=False)
        finally:
            _close(pieces)

    def _start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None
    ) -> Callable[[bytes], None]:
        if exc_info is not None and self._started and exc_info[1] is not None:
            raise exc_info[1]
        fields = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        self._head = {"type": "http.response.start", "status": int(status[:3]), "headers": fields}
        return self._write

    def _write(self, piece: bytes, *, more: bool = True) -> None:
        if self._head is None:
            raise RuntimeError("the application wrote before it called start_response")
        if not self._started:
            self._started = True
            self._wait(self._send(self._head))
        self._wait(self._send({"type": "http.response.body", "body": piece, "more_body": more}))

    def _next_chunk(self) -> bytes:
        message: Message = self._wait(self._receive())
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
        body: bytes = message.get("body", b"")
        if not body and message.get("more_body", False):
            return self._next_chunk()
        return body

    def _wait(self, awaitable: Awaitable[T]) -> T:
        return asyncio.run_coroutine_threadsafe(_awaited(awaitable), self._loop).result()


class _Input(RawIOBase):
    """``wsgi.input``: each read asks the client for as much as it sends at once."""

    def __init__(self, next_chunk: Callable[[], bytes]) -> None:
        self._next_chunk = next_chunk
        self._rest = b""
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        if not self._rest and not self._ended:
            self._rest = self._next_chunk()
            self._ended = not self._rest
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size


async def _awaited(awaitable: Awaitable[T]) -> T:
    return await awaitable


def _close(pieces: Iterable[bytes]) -> None:
    close = getattr(pieces, "close", None)
    if close is not None:
        close()
