"""One request and its answer on a connection: uvicorn's cycle with an answer written in one piece.

uvicorn writes the head of an answer and its body one after the other: two system calls, which are most
of what a small answer costs. Here the head waits for the first piece of the body, at most until the
event loop's next turn, so that a body that is slow to come does not hold its head back.
"""

from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from metaproxy.exchange import ClientDisconnected
from metaproxy.outbox import MOST_BYTES
from metaproxy.protocol import interim

BODILESS = frozenset({204, 304})


class ResponseError(RuntimeError):
    """The application broke the rules of ASGI or HTTP; the connection is closed."""


class Cycle(RequestResponseCycle):
    """Takes the messages of one answer. ``loop`` is the event loop, ``end`` closes after the last answer."""

    def __init__(self, *, loop: Any, end: Callable[[], None], **arguments: Any) -> None:
        super().__init__(**arguments)
        self._loop = loop
        self._end = end
        self._head = b""
        self._ends_with_connection = False

    async def run_asgi(self, app: Any) -> None:
        """Let ``app`` answer; what breaks off in the turn in which it began is seen to have begun."""

        async def begun(scope: Any, receive: Any, send: Any) -> None:
            try:
                await app(scope, receive, send)
            except BaseException:
                self._flush_head()
                raise

        await super().run_asgi(begun)

    async def send(self, message: Any) -> None:
        """The ASGI interface; raises ClientDisconnected where the client left in the middle of the answer."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            # Who sends an answer to nobody must stop: an upstream's may have no end.
            if self.response_started:
                raise ClientDisconnected
            return
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
            if not self.waiting_for_100_continue:
                return
            self.waiting_for_100_continue = False
        head = _section([STATUS_LINE[status], *[b"%b: %b\r\n" % field for field in headers]])
        if not self.transport.is_closing():
            self.transport.write(head)

    def _begin(self, status: int, headers: Any) -> None:
        self.response_started = True
        if self.waiting_for_100_continue and self.more_body:
            # A client that waited for 100 (Continue) may send the body now, or never: no reader could tell it
            # from the next request (RFC 9110 §10.1.1).
            self.keep_alive = False
        self.waiting_for_100_continue = False
        lines, says_close = [STATUS_LINE[status]], False
        for name, value in headers:
            if name == b"transfer-encoding":
                continue  # the framing is ours to choose
            lines.append(b"%b: %b\r\n" % (name, value))
            if name == b"content-length":
                self.expected_content_length, self.chunked_encoding = int(value), False
            elif name == b"connection" and b"close" in value.lower():
                self.keep_alive, says_close = False, True
        if not self.keep_alive and not says_close:
            lines.append(b"connection: close\r\n")
        if self.chunked_encoding is None and self.scope["method"] != "HEAD" and status not in BODILESS:
            # RFC 9112 §6.1: who speaks HTTP/1.0 knows no chunks; the body ends with the connection.
            self._ends_with_connection = self.scope.get("http_version") == "1.0"
            self.chunked_encoding = not self._ends_with_connection
        if self.chunked_encoding:
            lines.append(b"transfer-encoding: chunked\r\n")
        self._head = _section(lines)
        self._loop.call_soon(self._flush_head)

    def _flush_head(self) -> None:
        if self._head and not self.transport.is_closing():
            self.transport.write(self._head)
        self._head = b""

    def _pass(self, body: bytes, *, more: bool) -> None:
        head, self._head = self._head, b""
        framed = self._framed(body, more=more)
        if head and len(framed) > MOST_BYTES:
            # Not joined: a large body is written from where it is stored, however many clients read slowly.
            self.transport.write(head)
            self.transport.write(framed)
        elif data := head + framed:
            self.transport.write(data)
        if more:
            return
        if self.expected_content_length != 0 and not self._ends_with_connection:
            raise ResponseError("the body is shorter than its Content-Length")
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self._end()
        self.on_response()

    def _framed(self, body: bytes, *, more: bool) -> bytes:
        if self.scope["method"] == "HEAD":
            self.expected_content_length = 0
            return b""
        if self._ends_with_connection:
            return body
        if not self.chunked_encoding:
            self.expected_content_length -= len(body)
            if self.expected_content_length < 0:
                raise ResponseError("the body is longer than its Content-Length")
            return body
        chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
        return chunk if more else chunk + b"0\r\n\r\n"


def _section(lines: list[bytes]) -> bytes:
    """Return the head made of ``lines``; raises ResponseError."""
    head = b"".join(lines)
    # One line break for every line and no other: a field cannot smuggle a second one in.
    if head.count(b"\n") != len(lines) or head.count(b"\r") != len(lines) or b"\0" in head:
        raise ResponseError("a header field holds a line break or NUL")
    return head + b"\r\n"
