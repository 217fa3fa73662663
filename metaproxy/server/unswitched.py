"""The body of a request that offers another protocol, where the offer is ignored (RFC 9110 §7.8).

Fact this file rests on. httptools stops behind the head of such a request, whatever its fields say of a
body: what follows would be read as the next request. A parser of its own, told of the framing alone, reads
the body, and whatever comes on the connection after it.
"""

from typing import Any

import httptools

from metaproxy.protocol.headers import Headers

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

    ``reader`` gets httptools' callbacks, but none for the head of the request whose body it is.
    """
    parser = request_parser(callbacks := _Callbacks(reader))
    parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + b"\r\n")
    callbacks.is_told_of_heads = True
    return parser


class _Callbacks:
    def __init__(self, reader: Any) -> None:
        self._reader = reader
        self.is_told_of_heads = False
        self.on_body = reader.on_body
        self.on_message_complete = reader.on_message_complete

    def on_message_begin(self) -> None:
        if self.is_told_of_heads:
            self._reader.on_message_begin()

    def on_url(self, url: bytes) -> None:
        if self.is_told_of_heads:
            self._reader.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.is_told_of_heads:
            self._reader.on_header(name, value)

    def on_headers_complete(self) -> None:
        if self.is_told_of_heads:
            self._reader.on_headers_complete()
