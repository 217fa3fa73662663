"""Reading one response after another from the bytes of a connection. No I/O.

llhttp (in httptools) does the grammar, strictly: no folded lines, no bare line feeds, no second
Content-Length, none beside Transfer-Encoding. Left to us is what needs the request or a limit:

- the answer to HEAD, and 1xx, 204 and 304, have no body whatever their fields say (RFC 9112 §6.3);
- we accept no transfer coding but ``chunked``, and none from HTTP/1.0 (§6.1);
- a body with neither length nor chunks ends with the connection (§6.3), one with either must be
  complete (§8);
- interim responses come before the final one, a limited number of them (RFC 9110 §15.2); 101 answers
  an Upgrade that we never ask for;
- heads, trailers and chunk extensions are limited together: a number of bytes without any body.
"""

from collections.abc import Sequence

import httptools

from metaproxy.forward.errors import InvalidResponse, TruncatedResponse
from metaproxy.protocol.headers import Header, Headers, combined, get_all, list_members

MAX_HEAD_BYTES = 65536
MAX_INTERIM_RESPONSES = 16
_FIELD_PUNCTUATION = len(b": \r\n")


class ResponseHead:
    """Status and header fields of a response: names in lower case, order and duplicates kept.

    ``version`` is that of HTTP in which it came. ``values`` has one value of each field, the last.
    """

    __slots__ = ("headers", "status", "values", "version")

    def __init__(self, status: int, headers: list[Header], version: str = "1.1") -> None:
        self.status = status
        self.headers = headers
        self.version = version
        self.values = dict(headers)


class ResponseParser:
    """Reads the responses of one connection, one at a time.

    ``head`` is set when the final response's head is there, ``complete`` when its last byte is.
    ``interim`` are the interim responses before it; the caller empties it.
    ``persistent`` tells, from then on, whether the connection may carry another request.
    """

    def __init__(self, max_head_bytes: int = MAX_HEAD_BYTES) -> None:
        self._max_head_bytes = max_head_bytes
        self._llhttp = httptools.HttpResponseParser(self)
        self.interim: Sequence[ResponseHead] = ()
        self._fields: list[Header] = []
        self._body: list[bytes] = []
        self._until_eof = False
        self._error = ""
        self.expect("GET")

    def expect(self, method: str) -> None:
        """Make ready for the answer to a request of ``method``. A response leaves nothing else behind."""
        self.head: ResponseHead | None = None
        self.complete = False
        self.persistent = False
        self._to_head = method == "HEAD"
        self._interim_count = self._without_body = 0

    def feed(self, data: bytes) -> bytes:
        """Take bytes of the connection and return the body bytes among them; raises InvalidResponse."""
        has_head = self.head is not None
        self._without_body += len(data)
        seen = self._without_body
        try:
            self._llhttp.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self.complete:
                raise InvalidResponse(str(error)) from error
            # The answer is whole, and something follows that nobody asked for.
            self.persistent = False
        # A head that ends in the same piece as its body begins is measured: how it was cut must not matter.
        is_too_large = not has_head and seen > self._max_head_bytes < self._head_bytes()
        if self._without_body > self._max_head_bytes or is_too_large:
            self._error = (
                self._error or f"a head, or what frames a body, of more than {self._max_head_bytes} bytes"
            )
        if self._error:
            raise InvalidResponse(self._error)
        if self.complete and self._to_head:
            # llhttp cannot be told that the answer to HEAD has no body, and would wait for one.
            self._llhttp = httptools.HttpResponseParser(self)
        if not self._body:
            return b""
        pieces, self._body = self._body, []
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def feed_eof(self) -> None:
        """Take the end of the connection; raises TruncatedResponse where the response needs more."""
        if self.complete:
            return
        if not self._until_eof:
            raise TruncatedResponse("the connection ended inside a response")
        self.complete = True

    def on_message_begin(self) -> None:
        """Called by llhttp."""
        if self.complete:
            self.persistent = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by llhttp, for trailers too, which end at this hop (RFC 9110 §6.5.1)."""
        if self.head is None:
            self._fields.append((name.lower(), value.strip(b" \t")))  # RFC 9112 §5.1

    def on_headers_complete(self) -> None:
        """Called by llhttp."""
        if self.head is not None:
            return
        status, fields, self._fields = self._llhttp.get_status_code(), self._fields, []
        if 100 <= status < 200:
            self._take_interim(status, fields)
            return
        self.head = ResponseHead(status, fields, self._llhttp.get_http_version())
        self._frame(self.head)

    def on_body(self, data: bytes) -> None:
        """Called by llhttp."""
        if self.complete:
            self.persistent = False
            return
        self._without_body = 0
        self._body.append(data)

    def on_message_complete(self) -> None:
        """Called by llhttp, for interim responses too."""
        if self.head is not None:
            self.complete = True

    def _take_interim(self, status: int, fields: list[Header]) -> None:
        self._interim_count += 1
        if status == 101:
            self._error = "an upgrade that was not asked for"
        elif self._interim_count > MAX_INTERIM_RESPONSES:
            self._error = "too many interim responses"
        else:
            self.interim = (*self.interim, ResponseHead(status, fields))

    def _frame(self, head: ResponseHead) -> None:
        """Find out where the response ends and whether another may follow it."""
        status, version, fields, names = head.status, head.version, head.headers, head.values
        if version not in ("1.1", "1.0") or not 200 <= status <= 599:
            self._error = f"HTTP version {version}, status {status}"
        if b"transfer-encoding" in names and (version == "1.0" or not _is_chunked(fields)):
            self._error = "a transfer coding that we cannot undo"
        persists = version == "1.1"
        if b"connection" in names:
            persists = _persists(version, combined(fields, b"connection").lower())
        has_no_body = self._to_head or status in (204, 304)
        has_end = b"content-length" in names or b"transfer-encoding" in names
        self._until_eof = not has_no_body and not has_end
        self.persistent = persists and not self._until_eof
        self.complete = self._to_head

    def _head_bytes(self) -> int:
        """Size of a head that came in one piece with its body, and so was not counted on the way."""
        fields = self.head.headers if self.head is not None else self._fields
        return sum(len(name) + len(value) + _FIELD_PUNCTUATION for name, value in fields)


def _is_chunked(fields: Headers) -> bool:
    return [value.lower() for value in get_all(fields, b"transfer-encoding")] == [b"chunked"]


def _persists(version: str, connection: bytes) -> bool:
    """Say whether the connection persists after a response with this Connection (RFC 9112 §9.3)."""
    options = set(list_members(connection))
    return b"close" not in options and (version == "1.1" or b"keep-alive" in options)
