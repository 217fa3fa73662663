"""One connection to an upstream: a request is written, its response read, and the next may follow.

A request's body is sent by a task of its own, so that an early response is noticed while the client
still uploads. Such a response ends the upload, and with it the connection (RFC 9112 §9.3, §9.6).
"""

import asyncio
import os
import select
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import cast

import httpx

from metaproxy.forward.engine.body import ResponseBody
from metaproxy.forward.engine.parser import ResponseHead, ResponseParser
from metaproxy.forward.engine.request import OutgoingRequest
from metaproxy.forward.engine.sending import send_body
from metaproxy.forward.engine.stall import StallTimer
from metaproxy.forward.engine.waiting import OnInterim, Patience, Taker
from metaproxy.forward.errors import ConnectionReset, InvalidResponse, TruncatedResponse
from metaproxy.outbox import Outbox
from metaproxy.tasks import TaskSet

LAST_READ_BYTES = 65536
MOST_LAST_READS = 16


class Connection(asyncio.Protocol):
    """One connection, one request at a time.

    Args:
        patience: its timeouts.
        outbox: writes heads, together with those of other connections.
        on_free: called with the connection when a response is complete and the next may follow.
        on_lost: called with the connection once it is closed.
    """

    def __init__(
        self,
        patience: Patience,
        *,
        outbox: Outbox | None = None,
        on_free: "Callable[[Connection], None]",
        on_lost: "Callable[[Connection], None]",
    ) -> None:
        self._patience = patience
        self._outbox = outbox or Outbox()
        self._on_free = on_free
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._stall = StallTimer(self._loop, self._stalled)
        self._parser = ResponseParser()
        self._readable = select.poll()
        self._writable = asyncio.Event()
        self._tasks = TaskSet()
        self._upload: asyncio.Task[None] | None = None
        # Both are set while a response is awaited, the body alone while it is read, none when idle.
        self._head: asyncio.Future[ResponseHead] | None = None
        self._body: ResponseBody | None = None
        # In place of both, until the first bytes have come.
        self._taker: Taker | None = None
        self._on_interim: OnInterim | None = None
        self.requests = 0
        self.answered = False
        """True if any byte has come since the last request was written."""
        self.opened_at = self.idle_since = 0.0
        self.is_closed = False

    def is_usable(self) -> bool:
        """Say whether an idle connection may carry a request.

        Asks the kernel: an end or a byte that has arrived and that the loop has not read yet tells
        that the upstream has done with this connection.
        """
        return not self._transport.is_closing() and not self._readable.poll(0)

    async def exchange(self, request: OutgoingRequest) -> tuple[ResponseHead, ResponseBody]:
        """Send ``request``; return the head of the response, and its body to be read.

        Raises httpx.TransportError, or what reading the request's body raises.
        """
        self.begin(request)
        self._head, self._body = self._loop.create_future(), ResponseBody(self)
        if request.length != 0:
            self._upload = self._tasks.start(self._send(request), name="upload to the upstream")
        return await self.response(self._head, self._body, self._upload)

    async def response(
        self,
        head: "asyncio.Future[ResponseHead]",
        body: ResponseBody,
        upload: "asyncio.Task[None] | None" = None,
    ) -> tuple[ResponseHead, ResponseBody]:
        """Wait for the head of a response; like ``exchange``, for a request that has been sent."""
        try:
            received = await head
            if upload is not None:
                # The body's source must be at rest before anyone else reads from the client.
                await asyncio.wait([upload])
        except asyncio.CancelledError:
            if self._body is body:
                self.abandon()
            raise
        return received, body

    def begin(self, request: OutgoingRequest, taker: Taker | None = None) -> None:
        """Send the head of ``request``; ``taker`` gets what comes of it. Raises ConnectionReset."""
        self.requests += 1
        self.answered = False
        if self._transport.is_closing():
            raise ConnectionReset("the connection ended before the request was sent")
        self._parser.expect(request.method)
        self._outbox.write(self._transport, request.head, self._loop)
        self._taker, self._upload = taker, None
        self._on_interim = taker.take_interim if taker is not None else request.on_interim
        if request.length == 0:
            self._stall.begin(self._patience.read)

    def abort(self) -> None:
        """Close the connection at once. Whatever is under way fails."""
        if not self.is_closed:
            self._transport.abort()

    # The interface for a response body.

    def pause(self) -> None:
        """Read no more for now."""
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        """Go on reading."""
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def awaited(self) -> None:
        """A reader waits for bytes of the body."""
        self._stall.begin(self._patience.read)

    def abandon(self) -> None:
        """Nobody will read the rest of the response."""
        self._head = self._body = self._taker = self._on_interim = None
        self._end_upload()
        self.abort()

    # The interface for a request body's sender.

    async def write(self, data: bytes) -> None:
        """Write ``data``; returns when there is room for more."""
        self._transport.write(data)
        if not self._writable.is_set():
            self._stall.begin(self._patience.write)
            await self._writable.wait()
            self._stall.end()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Part of asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)
        self._readable.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        """Part of asyncio.Protocol."""
        body, taker = self._body, self._taker
        if body is None and taker is None:
            # Bytes that no request has asked for: the next answer could be taken for another's.
            self.abort()
            return
        self.answered = True
        try:
            received = self._parser.feed(data)
        except InvalidResponse as error:
            self._fail(error)
            return
        parser = self._parser
        is_whole = parser.complete and not parser.interim
        if taker is not None and is_whole and parser.head is not None and taker.take(parser.head, received):
            self._taker = self._on_interim = None
            self._stall.end()
            self._free()
            return
        if parser.head is not None:
            # A head has the time of one wait as a whole: octet by octet it would have no end.
            self._stall.progress()
        body = body or self._by_pieces()
        if body is None:
            return
        if self._parser.interim:
            self._pass_interim()
        if self._head is not None and self._parser.head is not None:
            self._answer(self._head, self._parser.head)
        if received:
            self._stall.end()
            body.feed(received)
        if self._parser.complete:
            self._complete(body)

    def eof_received(self) -> None:
        """Part of asyncio.Protocol."""
        self._end(None if self._has_ended_well() else TruncatedResponse("TLS ended without a closure alert"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Part of asyncio.Protocol."""
        if exc is not None and self._upload is not None:
            self._take_last_octets()
        # A response that ends with the connection has ended before, with ``eof_received``.
        self._end(exc or TruncatedResponse("the connection ended inside a response"))
        self._stall.cancel()
        self._writable.set()
        self.is_closed = True
        self._on_lost(self)

    def pause_writing(self) -> None:
        """Part of asyncio.Protocol."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Part of asyncio.Protocol."""
        self._writable.set()

    async def _send(self, request: OutgoingRequest) -> None:
        try:
            await send_body(request, self)
        except Exception as error:  # noqa: BLE001 - whatever the body's source raises ends the request
            self._fail(error)
        else:
            self._stall.begin(self._patience.read)

    def _by_pieces(self) -> ResponseBody | None:
        """Go on with a response that does not come as a whole; return its body."""
        taker, self._taker = self._taker, None
        if taker is not None:
            self._head, self._body = self._loop.create_future(), ResponseBody(self)
            taker.hand_over(self._head, self._body)
        return self._body

    def _pass_interim(self) -> None:
        """Deliver the interim responses that have come."""
        heads, self._parser.interim = self._parser.interim, ()
        if (on_interim := self._on_interim) is not None:
            for head in heads:
                on_interim(head)

    def _free(self) -> None:
        if self._parser.persistent and not self._transport.is_closing():
            self._on_free(self)
        else:
            self.abort()

    def _has_ended_well(self) -> bool:
        """Say whether the end is the upstream's own: behind TLS, anybody on the way can end the connection.

        RFC 9112 §9.8: without a closure alert, a response that ends with the connection is incomplete.
        """
        session: ssl.SSLObject | None = self._transport.get_extra_info("ssl_object")
        try:
            return session is None or not session.read(1)
        except ssl.SSLZeroReturnError:
            return True
        except ssl.SSLError:
            return False

    def _take_last_octets(self) -> None:
        """Take what had come when an upload broke off: often the answer that refuses it (RFC 9112 §9.5).

        An upstream that does not read on resets the connection. The transport ends with the first write that
        fails, and leaves unread what came before. Behind TLS that cannot be read any more.
        """
        if self._transport.get_extra_info("sslcontext") is not None:
            return
        descriptor = self._transport.get_extra_info("socket").fileno()
        with suppress(OSError):
            for _ in range(MOST_LAST_READS):
                if not (data := os.read(descriptor, LAST_READ_BYTES)):
                    return
                self.data_received(data)

    def _answer(self, waiting: "asyncio.Future[ResponseHead]", head: ResponseHead) -> None:
        self._head = self._on_interim = None
        self._stall.end()
        if self._end_upload():
            self._parser.persistent = False
        if not waiting.done():
            waiting.set_result(head)

    def _complete(self, body: ResponseBody) -> None:
        self._body = None
        self._stall.end()
        body.finish()
        self._free()

    def _end_upload(self) -> bool:
        """Stop sending the request's body; say whether there was more to send."""
        unfinished = self._upload is not None and not self._upload.done()
        if self._upload is not None:
            self._upload.cancel()
        return unfinished

    def _end(self, error: Exception | None) -> None:
        """The connection has ended: that may be the end of the body, or an error."""
        body = self._by_pieces()
        if body is None:
            return
        if self._head is not None or error is not None:
            reset = ConnectionReset("the connection ended before the response was complete")
            reset.__cause__ = error
            self._fail(error if self._head is None and isinstance(error, TruncatedResponse) else reset)
            return
        try:
            self._parser.feed_eof()
        except TruncatedResponse as truncated:
            self._fail(truncated)
        else:
            self._complete(body)

    def _stalled(self) -> None:
        if self._writable.is_set():
            self._fail(httpx.ReadTimeout("the upstream sent nothing in time"))
        else:
            self._fail(httpx.WriteTimeout("the upstream took nothing in time"))

    def _fail(self, error: Exception) -> None:
        self._by_pieces()
        head, body = self._head, self._body
        self._head = self._body = self._on_interim = None
        self._stall.end()
        self._end_upload()
        if head is not None and not head.done():
            head.set_exception(error)
        if body is not None:
            body.finish(error)
        self.abort()
