"""The HTTP/1.1 edge: uvicorn's httptools protocol, with bounds on size and time.

httptools sets no limit on the size of a head and none on how slowly it comes. Both are held here, and
what cannot become a request is refused in the API's own words: counted, logged, and the connection
closed (RFC 9112 §9.6). Deadlines are plain numbers that one sweep compares a few times a second: a
timer per request would cost each request more than all of this does.
"""

import asyncio
from typing import Any
from urllib.parse import unquote

import httptools
from uvicorn.config import Config
from uvicorn.server import ServerState

from metaproxy.exchange import EMPTY_QUERY
from metaproxy.protocol.addresses import canonical, counted_as
from metaproxy.protocol.faults import Fault
from metaproxy.protocol.interim import EXTENSIONS
from metaproxy.protocol.received import BLANKS
from metaproxy.server.answering import AnsweringProtocol
from metaproxy.server.deadlines import body_deadline
from metaproxy.server.edge import Edge
from metaproxy.server.refusing import ParsingEnded
from metaproxy.server.strictness import is_mostly_framing, is_offer, origin_form
from metaproxy.server.unswitched import framing_of, parser_of_body

ASGI = {"version": "3.0", "spec_version": "2.3"}

LINGER_SECONDS = 1.0
PRESSED_IDLE_SECONDS = 5.0

HEAD_END = b"\r\n\r\n"

NAMELESS = "?"
"""In place of the address of a TCP peer that left before it was asked: no head is remembered for it."""


class EdgeProtocol(AnsweringProtocol):
    """One client connection."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        edge: Edge,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.edge = edge
        self.limits = edge.limits
        self.write_deadline = 0.0
        self._in_head = False
        self._head_bytes = 0
        self._between_requests = True
        self._octets = b""
        self._framing_bytes = self._body_bytes = 0
        self._body_began = 0.0
        self._unread_framing = b""
        self._counted_as = ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected."""
        super().connection_made(transport)
        self.deadline = self.loop.time() + self.limits.header_seconds
        self.address = address = self._settle_client()
        self._counted_as = counted_as(address, self.limits.ipv6_prefix)
        of_address = self.edge.addresses.connected(self._counted_as) if self.client else 0
        connections = len(self.connections) - self.edge.lingering
        if reason := self.limits.one_too_many(connections, of_address, address):
            self.edge.refusals.add(reason, connections=connections)
            self.refuse(Fault(503, "Too many connections.", reason=reason, retry_after=1))

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        super().connection_lost(exc)
        if self.client:
            self.edge.addresses.disconnected(self._counted_as)

    def _settle_client(self) -> str:
        """Spell the client's address canonically; return it, or "" for a peer on a unix socket."""
        if self.client:
            self.client = (canonical(self.client[0]), self.client[1])
            return self.client[0]
        # A TCP peer that has left already has no name either. It must not be taken for one on a unix socket.
        return "" if self.server is not None and self.server[1] is None else NAMELESS

    def data_received(self, data: bytes) -> None:
        """Bytes have come: feed the parser, then say how long the next ones may take."""
        if self.transport.is_closing():
            return
        self._octets = b""
        if self._between_requests and data.find(HEAD_END) + len(HEAD_END) == len(data):
            if self._repeated(data):
                return
            self._octets = data
        if not self._in_head and not self._between_requests:
            self._framing_bytes += len(data)
        self._feed(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > self.limits.header_bytes:
                self.refuse(Fault(431, "The request's head is too large.", reason="headers_too_large"))
            elif self._head_bytes == len(data):
                self.deadline = self.loop.time() + self.limits.header_seconds
        elif not self._between_requests and is_mostly_framing(self._framing_bytes, self._body_bytes):
            self.refuse(Fault(400, "The body is hardly anything but framing.", reason="framing_excessive"))
        elif self.cycle is not None and self.cycle.more_body and not self.cycle.response_complete:
            self.deadline = self._body_deadline()
        elif self.cycle is not None and not self.cycle.response_complete:
            self.deadline = 0.0

    def _body_deadline(self) -> float:
        now = self.loop.time()
        self._body_began = self._body_began or now
        return body_deadline(self._body_began, now, self.limits.body_seconds, self._body_bytes)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field has come: white space around its value is no part of it (RFC 9112 §5.1)."""
        super().on_header(name, value.strip(BLANKS))

    def on_body(self, body: bytes) -> None:
        """A piece of a request's body has come."""
        self._framing_bytes -= len(body)
        self._body_bytes += len(body)
        super().on_body(body)

    def _feed(self, data: bytes) -> None:
        if self.last_request_read and self._between_requests:
            self.sends_on = True
            return  # what follows the last request is not looked at
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # An offer to switch, which is ignored.
            framing, self._unread_framing = self._unread_framing, b""
            if framing:
                self.parser = parser_of_body(self, framing)
            if rest := data[upgrade.args[0] :]:
                self._feed(rest)
        except httptools.HttpParserError:
            if self.last_request_read and self._between_requests:
                return
            self.refuse(Fault(400, "The request is not valid HTTP/1.1.", reason="http_invalid"))

    def on_message_begin(self) -> None:
        """The first byte of a request's head has come."""
        if self.last_request_read:
            self.sends_on = True
            raise ParsingEnded
        self._in_head = True
        self._between_requests = False
        self.url = b""
        self.expect_100_continue = False
        self.headers = []

    def on_headers_complete(self) -> None:
        """A request's head is complete."""
        self._in_head = False
        self._head_bytes = self._framing_bytes = self._body_bytes = 0
        self._body_began = 0.0
        http_version = self.parser.get_http_version()
        try:
            self.scope = self._scope(http_version)
        except Fault as fault:
            self.refuse(fault)
            raise ParsingEnded from fault
        keep_alive = http_version != "1.0" and not self._leaving and self.parser.should_keep_alive()
        if len(self.pipeline) + 1 >= self.limits.max_pipelined:
            # RFC 9112 §9.3.2: what is not answered by then, the client sends again on another connection.
            keep_alive, self.sends_on = False, True
        self.last_request_read = not keep_alive
        app = self._answered_at_once(self._octets, keep_alive=keep_alive)
        if app is not None:
            self._take_the_line(app, keep_alive=keep_alive)

    def on_message_complete(self) -> None:
        """A request is complete, its body included: what comes next is the next one."""
        if self._unread_framing:
            return
        self._between_requests = True
        super().on_message_complete()

    def _scope(self, http_version: str) -> Any:
        if len(self.url) > self.limits.url_bytes:
            raise Fault(414, "The request's target is too long.", reason="target_too_long")
        headers, self.headers = self.headers, []  # what comes later are trailers: no part of the head
        asks_to_switch = self.parser.should_upgrade()
        if asks_to_switch and is_offer(headers):
            asks_to_switch, self._unread_framing = False, framing_of(headers)
        target = origin_form(self.url, http_version, headers, switches_protocol=asks_to_switch)
        raw_path, mark, query = target.partition(b"?")
        path = raw_path.decode("ascii")
        scope: dict[str, Any] = {EMPTY_QUERY: True} if mark and not query else {}
        if http_version != "1.0":
            scope["extensions"] = EXTENSIONS  # RFC 9110 §15.2: HTTP/1.0 has no interim responses
        return scope | {
            "type": "http",
            "asgi": ASGI,
            "http_version": http_version,
            "method": self.parser.get_method().decode("ascii"),
            "scheme": self.scheme,
            "path": unquote(path) if "%" in path else path,
            "raw_path": raw_path,
            "query_string": query,
            "root_path": "",
            "headers": headers,
            "client": self.client,
            "server": self.server,
            "state": {},
        }

    def on_response_complete(self) -> None:
        """An answer is out: start the next pipelined request, or be idle."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self.refused is not None:
            self.end_refused(self.refused)
        elif not self._in_head:
            self.deadline = self.loop.time() + self.limits.idle_seconds

    def pause_writing(self) -> None:
        """The client reads more slowly than we write."""
        self.write_deadline = self.loop.time() + self.limits.body_seconds
        super().pause_writing()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self.write_deadline = 0.0
        super().resume_writing()

    def shutdown(self) -> None:
        """Leave gracefully: what runs is finished; an idle client may send what is already on its way."""
        self._leaving = True
        if self.cycle is None or self.cycle.response_complete:
            self.deadline = self.loop.time() + LINGER_SECONDS
        else:
            self.cycle.keep_alive, self.last_request_read = False, True

    def expire(self, now: float, *, pressed: bool = False) -> None:
        """Close the connection if a deadline has passed at ``now`` (the loop's seconds).

        If there is hardly room for others (``pressed``), an idle one has less time.
        """
        if 0.0 < self.write_deadline < now:
            self.transport.abort()
        elif self.transport.is_closing():
            # What is written last may never be taken; the connection would stay for good.
            self.write_deadline = self.write_deadline or now + self.limits.body_seconds
        elif 0.0 < self.deadline < now + self._less_time(pressed=pressed) and not self.flow.read_paused:
            self._expire()

    def _less_time(self, *, pressed: bool) -> float:
        """Return by how many seconds an idle connection ends early, if there is hardly room for others."""
        if not pressed or self._leaving or not self._is_idle():
            return 0.0
        whole = self.limits.header_seconds if self.cycle is None else self.limits.idle_seconds
        return max(0.0, whole - PRESSED_IDLE_SECONDS)

    def _is_idle(self) -> bool:
        return not self._in_head and (self.cycle is None or self.cycle.response_complete)

    def _expire(self) -> None:
        if self.cycle is not None and self.cycle.response_complete and not self._in_head:
            self.transport.close()
        elif self._in_head:
            self.refuse(Fault(408, "The request's head came too slowly.", reason="header_timeout"))
        elif self.cycle is None:
            self.transport.close()
        else:
            self.refuse(Fault(408, "The request's body came too slowly.", reason="body_timeout"))
