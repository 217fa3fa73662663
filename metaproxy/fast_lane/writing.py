"""Answers as HTTP/1.1 writes them (RFC 9112 §2.1)."""

from collections.abc import Iterable, Sequence

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from metaproxy.protocol.headers import Header


def lines(fields: Iterable[Header]) -> bytes:
    """Return header fields, each with its line break."""
    return b"".join([b"%b: %b\r\n" % field for field in fields])


def serialised(status: int, fields: Sequence[Header], body: bytes, *, keep_alive: bool) -> bytes:
    """Return a whole answer; without ``keep_alive`` it says that the connection ends."""
    end = b"\r\n" if keep_alive else b"connection: close\r\n\r\n"
    return b"".join((STATUS_LINE[status], lines(fields), end, body))
