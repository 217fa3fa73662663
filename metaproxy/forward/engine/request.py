"""Writing a request's head and finding how its body is framed.

Facts this file rests on. A request has a body only where Content-Length or Transfer-Encoding says so
(RFC 9112 §6.3). A CR, LF or NUL inside a field or blank inside the target would let one request be
read as two (RFC 9110 §5.5, RFC 9112 §11.1), so what holds one is never written. Methods that are
idempotent may be repeated when a connection died before the answer began (RFC 9110 §9.2.2).
"""

import re
from typing import NamedTuple

import httpx

from metaproxy.forward.engine.waiting import OnInterim
from metaproxy.forward.errors import UnsendableRequest
from metaproxy.protocol.headers import Header

IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})

_METHOD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TARGET = re.compile(rb"[^\x00-\x20\x7f]+")
_NAME_CHARACTERS = b"!#$%&'*+.^_`|~0123456789-ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_FRAMING_FIELDS = frozenset({b"content-length", b"transfer-encoding"})
_FRAMING = re.compile(rb"\n(content-length|transfer-encoding):", re.IGNORECASE)


class OutgoingRequest(NamedTuple):
    """A request as the connection writes it.

    ``length`` is the number of body bytes, None for a chunked body; 0 means that there is no body.
    ``on_interim`` is called with interim responses; None drops them.
    """

    method: str
    head: bytes
    length: int | None
    body: httpx.AsyncByteStream
    on_interim: OnInterim | None = None

    def fields(self) -> list[Header]:
        """Return the header fields, their names in lower case."""
        lines = [line.partition(b": ") for line in self.head.split(b"\r\n")[1:-2]]
        return [(name.lower(), value) for name, _, value in lines]


def outgoing(request: httpx.Request) -> OutgoingRequest:
    """Return ``request`` ready to be written.

    The target is the documented extension ``target`` of httpx, exact to the byte, or the URL's path
    and query. An extension of our own, ``on_interim``, is called with interim responses. Raises
    UnsendableRequest.
    """
    target: bytes = request.extensions.get("target") or request.url.raw_path
    if not isinstance(request.stream, httpx.AsyncByteStream):
        raise UnsendableRequest("the body is no asynchronous stream")
    on_interim: OnInterim | None = request.extensions.get("on_interim")
    return message(request.method, target, request.headers.raw, request.stream, on_interim)


def message(
    method: str,
    target: bytes,
    fields: list[Header],
    body: httpx.AsyncByteStream,
    on_interim: OnInterim | None = None,
) -> OutgoingRequest:
    """Return a request ready to be written; raises UnsendableRequest."""
    head = _head(method, target, fields)
    # One look at the whole head spares most requests a look at each name.
    length = _body_length(fields) if _FRAMING.search(head) else 0
    return OutgoingRequest(method, head, length, body, on_interim)


def request_line(method: str, target: bytes) -> bytes:
    """Return the first line of a request (RFC 9112 §3); raises UnsendableRequest."""
    if not _METHOD.fullmatch(method) or not _TARGET.fullmatch(target):
        raise UnsendableRequest("the method or the target holds a character that it must not")
    return b"%b %b HTTP/1.1\r\n" % (method.encode("ascii"), target)


def _head(method: str, target: bytes, fields: list[Header]) -> bytes:
    if b"".join([name for name, _ in fields]).translate(None, _NAME_CHARACTERS):
        raise UnsendableRequest("the name of a header field holds a character that it must not")
    lines = [b"%b: %b\r\n" % field for field in fields]
    head = b"".join((request_line(method, target), *lines, b"\r\n"))
    # One line break for every line and no other: cheaper than looking into each field.
    breaks = len(fields) + 2
    if head.count(b"\n") != breaks or head.count(b"\r") != breaks or b"\0" in head:
        raise UnsendableRequest("a header field holds a line break or NUL")
    return head


def _body_length(fields: list[Header]) -> int | None:
    framing = [(name.lower(), value.lower()) for name, value in fields if name.lower() in _FRAMING_FIELDS]
    match framing:
        case [(b"transfer-encoding", b"chunked")]:
            return None
        case [(b"content-length", length)] if length.isdigit():
            return int(length)
    raise UnsendableRequest("the length of the body is ambiguous")
