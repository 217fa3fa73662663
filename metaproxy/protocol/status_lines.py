"""Status lines of HTTP/1.1 (RFC 9112 §4)."""

from http import HTTPStatus

_PHRASES = {status.value: status.phrase.encode("ascii") for status in HTTPStatus}

STATUS_LINE = {
    status: b"HTTP/1.1 %d %b\r\n" % (status, _PHRASES.get(status, b"")) for status in range(100, 1000)
}
"""By status. The reason phrase is empty if the status is not registered."""
