"""The octets of one client connection, read as requests within bounds.

Facts this file rests on. httptools sets no limit on the size of a head, a target or what frames a body; the
limits are held here and in ``strictness``. Octets behind the last request, or behind a refused one, are not
a request (RFC 9112 §9.6). httptools wraps what a callback raises, and parses nothing more.
"""

from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Any, Protocol
from urllib.parse import unquote

import httptools
from starlette.types import Scope

from metaproxy.exchange import EMPTY_QUERY
from metaproxy.protocol.faults import Fault
from metaproxy.protocol.headers import Header, Headers
from metaproxy.protocol.interim import EXTENSIONS
from metaproxy.protocol.received import BLANKS
from metaproxy.server.edge import EdgeLimits
from metaproxy.server.strictness import is_mostly_framing, is_offer, origin_form, with_host

HEAD_END = b"\r\n\r\n"

ASGI = {"version": "3.0", "spec_version": "2.3"}


class Reading(Enum):
    """The state of a reader: the part that the next octet belongs to."""

    BETWEEN = "the next request, of which nothing has come"
    HEAD = "a head"
    BODY = "the body of a request"
    OVER = "nothing"


BETWEEN, HEAD, BODY, OVER = Reading


class _ReadingEnded(Exception):
    """Raised inside a callback: what follows is not read as HTTP."""


class Taker(Protocol):
    """Takes requests as they are read."""

    def head_read(self, scope: Scope, *, keep_alive: bool, expects_continue: bool) -> None:
        """Take a head. ``keep_alive`` is whether the client may send another request after this one."""

    def body_read(self, data: bytes) -> None:
        """Take a piece of its body."""

    def request_read(self) -> None:
        """Note that the request is complete, its body included."""


class Reader:
    """Reads requests from octets.

    Args:
        peers: what the scope of every request says of the connection: ``client``, ``server`` and ``scheme``.
    """

    def __init__(self, taker: Taker, limits: EdgeLimits, peers: Scope) -> None:
        self.state = BETWEEN
        self.is_last = False
        """True if no request follows the one that is read; its body is read to its end."""
        self.sends_on = False
        """True if octets have come that belong to nothing."""
        self.head_began = False
        """True if the first octets of the head that is read came last."""
        self.head_bytes = 0
        """So many octets have come of the head that is read, with the end of a body right before it."""
        self.body_bytes = 0
        self._framing_bytes = 0
        self._taker = taker
        self._limits = limits
        self._scope = {"type": "http", "asgi": ASGI, "root_path": "", **peers}
        self._parser = request_parser(self)
        self._unread_framing = b""
        self._url = b""
        self._headers: list[Header] = []
        self._expects_continue = False

    def feed(self, data: bytes) -> None:
        """Read ``data``; raises Fault if that cannot become a request."""
        if self.state is BODY:
            self._framing_bytes += len(data)
        self.head_began = False
        rest = data
        while rest:
            if self.state is OVER:
                self.sends_on = True
                return
            rest = self._parsed(rest)
        if self.state is HEAD:
            # Other requests may have come in one piece with it. No head has an empty line before its end.
            self.head_bytes += len(data.rpartition(HEAD_END)[2] if self.head_began else data)
            if self.head_bytes > self._limits.header_bytes:
                raise Fault(431, "The request's head is too large.", reason="headers_too_large")
        elif self.state is BODY and is_mostly_framing(self._framing_bytes, self.body_bytes):
            raise Fault(400, "The body is hardly anything but framing.", reason="framing_excessive")

    def take_no_more(self) -> None:
        """Read the request that has begun to its end, and none after it."""
        self.is_last = True
        if self.state is BETWEEN:
            self.state = OVER

    def stop(self) -> None:
        """Read nothing more."""
        self.is_last, self.state = True, OVER

    def close(self) -> None:
        """Read nothing more, and let go of the taker: the collector would find both late."""
        self.stop()
        del self._parser, self._taker

    def _parsed(self, data: bytes) -> bytes:
        """Parse ``data``; return what the parser has left of it."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # An offer to switch, which is ignored.
            framing, self._unread_framing = self._unread_framing, b""
            if framing:
                self._parser = parser_of_body(self, framing)
            return data[upgrade.args[0] :]
        except httptools.HttpParserError as error:
            if self.state is OVER:
                return b""
            if isinstance(error, httptools.HttpParserCallbackError) and error.__context__ is not None:
                raise error.__context__ from None
            raise _invalid() from error
        return b""

    # The calls of httptools.

    def on_message_begin(self) -> None:
        """The first octet of a request's head has come."""
        if self.state is OVER:
            self.sends_on = True
            raise _ReadingEnded
        self.state, self.head_began = HEAD, True
        self._url = b""
        self._headers = []
        self._expects_continue = False

    def on_url(self, url: bytes) -> None:
        """A piece of the target has come."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field has come, of the head or of the trailers."""
        name, value = name.lower(), value.strip(BLANKS)  # blanks are no part of a value (RFC 9112 §5.1)
        if name == b"expect" and value.lower() == b"100-continue":
            self._expects_continue = True
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """A head is complete."""
        self.state = BODY
        self.head_bytes = self.body_bytes = self._framing_bytes = 0
        parser, version = self._parser, self._parser.get_http_version()
        scope = self._scope_of(version)
        # RFC 9110 §10.1.1, §15.2: HTTP/1.0 knows neither 100 (Continue) nor persistent connections.
        is_new = version != "1.0"
        self._taker.head_read(
            scope,
            keep_alive=is_new and parser.should_keep_alive(),
            expects_continue=is_new and self._expects_continue,
        )

    def on_body(self, body: bytes) -> None:
        """A piece of a body has come."""
        self._framing_bytes -= len(body)
        self.body_bytes += len(body)
        self._taker.body_read(body)

    def on_message_complete(self) -> None:
        """A request is complete, or the head of one whose body another parser reads."""
        if not self._unread_framing:
            self.state = OVER if self.is_last else BETWEEN
            self._taker.request_read()

    def _scope_of(self, version: str) -> Scope:
        if len(self._url) > self._limits.url_bytes:
            raise Fault(414, "The request's target is too long.", reason="target_too_long")
        headers, self._headers = self._headers, []  # what comes later are trailers: no part of the head
        asks_to_switch = self._parser.should_upgrade()
        if asks_to_switch and is_offer(headers):
            asks_to_switch, self._unread_framing = False, framing_of(headers)
        target = origin_form(self._url, version, headers, switches_protocol=asks_to_switch)
        if version == "1.0":
            headers = with_host(self._url, headers)
        raw_path, mark, query = target.partition(b"?")
        if not raw_path.isascii():
            raise _invalid()
        path = raw_path.decode("ascii")
        scope = {
            **self._scope,
            "http_version": version,
            "method": self._parser.get_method().decode("ascii"),
            "path": unquote(path) if "%" in path else path,
            "raw_path": raw_path,
            "query_string": query,
            "headers": headers,
            "state": {},
        }
        if mark and not query:
            scope[EMPTY_QUERY] = True
        if version != "1.0":
            scope["extensions"] = EXTENSIONS  # RFC 9110 §15.2: HTTP/1.0 has no interim responses
        return scope


def _invalid() -> Fault:
    return Fault(400, "The request is not valid HTTP/1.1.", reason="http_invalid")


_FRAMING = (b"content-length", b"transfer-encoding")


def framing_of(headers: Headers) -> bytes:
    """Return the header lines that tell where the body of a request ends; b"" where it has none."""
    return b"".join(b"%b: %b\r\n" % field for field in headers if field[0] in _FRAMING)


def request_parser(callbacks: Any) -> httptools.HttpRequestParser:
    """Return a parser that reads requests, and reports what follows the last one as the begin of another."""
    parser = httptools.HttpRequestParser(callbacks)
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    return parser


def parser_of_body(reader: Any, framing: bytes) -> httptools.HttpRequestParser:
    """Return a parser that reads a body with ``framing`` next, then requests.

    httptools stops behind the head of a request that offers another protocol, whatever its fields say of a
    body: what follows would be read as the next request. ``reader`` gets httptools' callbacks, but none for
    the head of the request whose body it is.
    """
    parser = request_parser(callbacks := _Callbacks(reader))
    parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + b"\r\n")
    callbacks.is_told_of_heads = True
    return parser


class _Callbacks:
    def __init__(self, reader: Any) -> None:
        self.is_told_of_heads = False
        self.on_body = reader.on_body
        self.on_message_complete = reader.on_message_complete
        for name in ("on_message_begin", "on_url", "on_header", "on_headers_complete"):
            setattr(self, name, partial(self._tell, getattr(reader, name)))

    def _tell(self, callback: Callable[..., None], *of_head: bytes) -> None:
        if self.is_told_of_heads:
            callback(*of_head)
