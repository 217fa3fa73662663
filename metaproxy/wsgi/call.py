"""One request of a WSGI server, answered by an ASGI application on the event loop.

Facts this file rests on (PEP 3333). The server's thread calls the application and then takes one piece
of the answer after the other; what it gets last it has not sent before it comes back for more. So the
thread serves the coroutine: it reads the body when asked to, and takes each message of the answer; the
coroutine goes on when the thread comes back. That is backpressure both ways, without buffers.
"""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from http import HTTPStatus
from queue import SimpleQueue
from typing import TypeAlias

from starlette.types import ASGIApp, Message, Scope

from metaproxy.exchange import ClientDisconnected
from metaproxy.protocol.headers import Header, end_to_end
from metaproxy.wsgi.environ import ENVIRON, scope_of
from metaproxy.wsgi.loop import LoopThread
from metaproxy.wsgi.types import Environ, StartResponse

CHUNK_BYTES = 65536
READ = "read"

Command: TypeAlias = Message | str | BaseException | None


class Call:
    """A request and its answer, between the server's thread and the loop."""

    def __init__(self, app: ASGIApp, environ: Environ, thread: LoopThread) -> None:
        self._app = app
        self._scope: Scope = scope_of(environ)
        self._thread = thread
        self._commands: SimpleQueue[tuple[Command, asyncio.Future[bytes] | None]] = SimpleQueue()
        self._waiting: asyncio.Future[bytes] | None = None
        self._asked: asyncio.Future[bytes] | None = None
        self._body = _Body(environ)
        self._read_all = False
        self._gone = asyncio.Event()
        self._running = thread.submit(self._run())

    def start(self, start_response: StartResponse) -> None:
        """Serve the coroutine until the answer begins, and begin it; raises what the application raises."""
        message = self._next_message()
        if message is None:
            raise RuntimeError("the application ended without an answer")
        start_response(_status_line(message["status"]), _told(message["headers"], self._scope[ENVIRON]))

    def __iter__(self) -> Iterator[bytes]:
        """Yield the answer's body; raises what the application raises, so that the server aborts."""
        while (message := self._next_message()) is not None:
            if body := message.get("body", b""):
                yield body

    def close(self) -> None:
        """The server wants no more: where the answer is not complete, the client has gone."""
        if not self._running.done():
            with suppress(RuntimeError):  # the loop has ended with the process
                self._thread.loop.call_soon_threadsafe(self._disconnect)

    def _next_message(self) -> Message | None:
        """Let the coroutine go on, read for it, and return its next message; None at its end."""
        self._done(b"")
        while True:
            command, self._waiting = self._commands.get()
            if command == READ:
                self._done(self._body.read())
            elif isinstance(command, BaseException):
                raise command
            elif command is None or isinstance(command, dict):
                return command

    def _done(self, result: bytes) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self._thread.loop.call_soon_threadsafe(_resolve, waiting, result)

    async def _run(self) -> None:
        try:
            await self._app(self._scope, self._receive, self._send)
        except BaseException as error:
            self._commands.put((error, None))
            raise
        self._commands.put((None, None))

    async def _receive(self) -> Message:
        if self._read_all:
            await self._gone.wait()
            return {"type": "http.disconnect"}
        chunk = await self._ask(READ)
        self._read_all = not chunk
        return {"type": "http.request", "body": chunk, "more_body": bool(chunk)}

    async def _send(self, message: Message) -> None:
        await self._ask(dict(message))

    async def _ask(self, command: Message | str) -> bytes:
        if self._gone.is_set():
            raise ClientDisconnected
        self._asked = self._thread.loop.create_future()
        self._commands.put((command, self._asked))
        return await self._asked

    def _disconnect(self) -> None:
        self._gone.set()
        if self._asked is not None and not self._asked.done():
            self._asked.set_exception(ClientDisconnected())


class _Body:
    """The request's body, read piece by piece by the server's thread."""

    def __init__(self, environ: Environ) -> None:
        self._input = environ["wsgi.input"]
        # Without a length the input ends only where the server says that it does.
        length = environ.get("CONTENT_LENGTH") or ("-1" if environ.get("wsgi.input_terminated") else "0")
        self._left = int(length)

    def read(self) -> bytes:
        """Return the next piece; b"" at the end."""
        size = CHUNK_BYTES if self._left < 0 else min(CHUNK_BYTES, self._left)
        chunk: bytes = self._input.read(size) if size else b""
        if self._left > 0:
            self._left -= len(chunk)
        return chunk


def _resolve(future: "asyncio.Future[bytes]", result: bytes) -> None:
    if not future.done():
        future.set_result(result)


def _status_line(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"{status} Unknown"


def _told(headers: list[Header], environ: Environ) -> list[tuple[str, str]]:
    """The fields as WSGI has them: none that end at this hop (PEP 3333, "Other HTTP Features").

    Gunicorn writes its own Date and Server whatever the application says: two of each would help nobody.
    """
    own = (b"date", b"server") if environ.get("SERVER_SOFTWARE", "").startswith("gunicorn") else ()
    return [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in end_to_end(headers)
        if name not in own
    ]
