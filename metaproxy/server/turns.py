"""A request that an ASGI application answers in a task, from its head to the end of its answer.

The head of an answer waits for the first piece of its body, at most until the event loop's next turn: two
system calls would be most of what a small answer costs. A body that is slow to come does not hold it back.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import structlog
from starlette.types import ASGIApp, Message, Scope

from metaproxy.asgi import ResponseAborted
from metaproxy.exchange import SCOPE_KEY, ClientDisconnected
from metaproxy.outbox import MOST_BYTES
from metaproxy.protocol import interim
from metaproxy.protocol.status_lines import STATUS_LINE
from metaproxy.server.flow import Flow

BODILESS = frozenset({204, 304})
BODY_HIGH_WATER = 65536
"""So many bytes of a request's body wait for the application; then reading is paused."""

logger = structlog.get_logger("metaproxy")


class ResponseError(RuntimeError):
    """The application broke the rules of ASGI or HTTP; the connection is closed."""


class AppTurn:
    """One request and its answer.

    Args:
        completed: called when the answer is written.
        keep_alive: whether another request may follow on the connection.
        expects_continue: whether the client waits for 100 (Continue) before it sends the body.
    """

    def __init__(
        self,
        app: ASGIApp,
        scope: Scope,
        *,
        flow: Flow,
        tasks: set["asyncio.Task[None]"],
        completed: Callable[[], None],
        keep_alive: bool,
        expects_continue: bool = False,
    ) -> None:
        self.scope = scope
        self.keep_alive = keep_alive
        self.more_body = True
        self.disconnected = False
        self.response_started = self.response_complete = False
        self._app = app
        self._transport = flow.transport
        self._flow = flow
        self._tasks = tasks
        self._completed = completed
        self._expects_continue = expects_continue
        self._body = bytearray()
        self._event = asyncio.Event()
        self._head = b""
        self._length: int | None = None
        """The rest of the Content-Length; None without one."""
        self._is_chunked = self._ends_with_connection = False
        self._has_begun = False

    def start(self) -> None:
        """Begin to answer."""
        self._begin_task()

    def _begin_task(self) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(self.run())
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)
        return task

    def _task_ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not self._has_begun and SCOPE_KEY in self.scope:
            # Cancelled before its first step, so that nothing has run that would end the request. But it has
            # begun before it came here: it may be counted, and hold a connection to the upstream.
            again = self._begin_task()
            asyncio.get_running_loop().call_soon(again.cancel)  # after its first step

    def body_read(self, data: bytes) -> None:
        """Take a piece of the request's body."""
        self._body += data
        if len(self._body) > BODY_HIGH_WATER:
            self._flow.pause_reading()
        self._event.set()

    def request_read(self) -> None:
        """Note that the request is complete."""
        self.more_body = False
        self._event.set()

    def client_left(self) -> None:
        """Let the application know that the client is gone."""
        self._expects_continue = False
        self.disconnected = True
        self._event.set()

    async def run(self) -> None:
        """Let the application answer; answer 500 in its place or break off if it does not."""
        self._has_begun = True
        try:
            await self._app(self.scope, self.receive, self.send)
        except BaseException as error:
            # The client of an answer that breaks off in the turn in which it began sees that it began.
            self._flush_head()
            # These are logged by the line.
            if not isinstance(error, ResponseAborted | ClientDisconnected | asyncio.CancelledError):
                logger.exception("the application failed")
        else:
            if self.response_complete or self.disconnected:
                return
            logger.error("the application returned without a complete response")
        if self._ends_with_connection and not self.response_complete:
            # Without length and chunks, only a reset tells that this is not the whole.
            self._flow.reset()
        elif self.response_started or self.disconnected:
            self._transport.close()
        else:
            await self._fail()

    async def _fail(self) -> None:
        body = b"Internal Server Error"
        fields = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body))]
        fields.append((b"connection", b"close"))
        await self.send({"type": "http.response.start", "status": 500, "headers": fields})
        await self.send({"type": "http.response.body", "body": body})

    async def receive(self) -> Message:
        """Implement ASGI's ``receive``."""
        if self._expects_continue and not self._transport.is_closing():
            self._transport.write(STATUS_LINE[100] + b"\r\n")
            self._expects_continue = False
        if not self.disconnected and not self.response_complete:
            self._flow.resume_reading()
            await self._event.wait()
            self._event.clear()
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        body, self._body = bytes(self._body), bytearray()
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    async def send(self, message: Message) -> None:
        """Implement ASGI's ``send``; raises ClientDisconnected if the client left during the answer."""
        if self._flow.write_paused and not self.disconnected:
            await self._flow.drain()
        if self.disconnected:
            # Stop the application, because it may be streaming an endless upstream body.
            raise ClientDisconnected
        kind = message["type"]
        if kind == "http.response.start" and not self.response_started:
            self._begin(message["status"], message.get("headers", ()))
        elif kind == "http.response.body" and self.response_started and not self.response_complete:
            self._pass(message.get("body", b""), more=message.get("more_body", False))
        elif kind == interim.MESSAGE and not self.response_started:
            self._write_interim(message["status"], message["headers"])
        else:
            raise ResponseError(f"{kind} is not expected here")

    def _write_interim(self, status: int, headers: Any) -> None:
        """Write an interim response; 100 (Continue) only if the client still waits for it."""
        if status == 100:
            if not self._expects_continue:
                return
            self._expects_continue = False
        head = _section([STATUS_LINE[status], *[b"%b: %b\r\n" % field for field in headers]])
        if not self._transport.is_closing():
            self._transport.write(head)

    def _begin(self, status: int, headers: Any) -> None:
        self.response_started = True
        if self._expects_continue and self.more_body:
            # A client that waited for 100 (Continue) may send the body now, or never: no reader could tell it
            # from the next request (RFC 9110 §10.1.1).
            self.keep_alive = False
        self._expects_continue = False
        lines, says_close = [STATUS_LINE[status]], False
        for name, value in headers:
            if name == b"transfer-encoding":
                continue  # the framing is ours to choose
            lines.append(b"%b: %b\r\n" % (name, value))
            if name == b"content-length":
                self._length = int(value)
            elif name == b"connection" and b"close" in value.lower():
                self.keep_alive, says_close = False, True
        if not self.keep_alive and not says_close:
            lines.append(b"connection: close\r\n")
        if self._length is None and self.scope["method"] != "HEAD" and status not in BODILESS:
            # RFC 9112 §6.1: HTTP/1.0 has no chunks; the body ends with the connection.
            self._ends_with_connection = self.scope.get("http_version") == "1.0"
            self._is_chunked = not self._ends_with_connection
        if self._is_chunked:
            lines.append(b"transfer-encoding: chunked\r\n")
        self._head = _section(lines)
        asyncio.get_running_loop().call_soon(self._flush_head)

    def _flush_head(self) -> None:
        if self._head and not self._transport.is_closing():
            self._transport.write(self._head)
        self._head = b""

    def _pass(self, body: bytes, *, more: bool) -> None:
        head, self._head = self._head, b""
        framed = self._framed(body, more=more)
        if head and len(framed) > MOST_BYTES:
            # Not joined: a large body is written from where it is stored, however many clients read slowly.
            self._transport.write(head)
            self._transport.write(framed)
        elif data := head + framed:
            self._transport.write(data)
        if more:
            return
        if self._length:
            raise ResponseError("the body is shorter than its Content-Length")
        self.response_complete = True
        self._event.set()
        self._completed()

    def _framed(self, body: bytes, *, more: bool) -> bytes:
        if self.scope["method"] == "HEAD":
            self._length = 0
            return b""
        if self._is_chunked:
            chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            return chunk if more else chunk + b"0\r\n\r\n"
        if not self._ends_with_connection:
            self._length = (self._length or 0) - len(body)
            if self._length < 0:
                raise ResponseError("the body is longer than its Content-Length")
        return body


def _section(lines: list[bytes]) -> bytes:
    """Return the head made of ``lines``; raises ResponseError."""
    head = b"".join(lines)
    # One line break for every line and no other: a field cannot smuggle a second one in.
    if head.count(b"\n") != len(lines) or head.count(b"\r") != len(lines) or b"\0" in head:
        raise ResponseError("a header field holds a line break or NUL")
    return head + b"\r\n"
