"""How talking to an upstream can end, and what the client is told of it.

Transports raise httpx's exceptions, which every ``AsyncBaseTransport`` speaks. Our engine refines some
of them, so that the log can say more; ``fault_of`` turns any of them into a ``Fault``::

    httpx.TransportError
    ├── TimeoutException   ConnectTimeout  ReadTimeout  WriteTimeout  PoolTimeout ── QueueFull
    ├── NetworkError       ConnectError ── NameNotResolved, TLSFailed
    │                      ReadError ── ConnectionReset
    └── ProtocolError      LocalProtocolError ── UnsendableRequest
                           RemoteProtocolError ── InvalidResponse, TruncatedResponse

A gateway answers 502 to an invalid response, 504 to none in time (RFC 9110 §15.6.3, §15.6.5) and 503
while it is itself unable to try (§15.6.4).
"""

from typing import NamedTuple

import httpx

from metaproxy.protocol.faults import Fault

TransportError = httpx.TransportError
"""The base of all errors here, for callers that need not know that it is httpx's."""

OVERLOAD_RETRY_SECONDS = 1
"""Retry-After of a 503 that is about a full queue: it may be over at any moment."""


class NameNotResolved(httpx.ConnectError):
    """The upstream's host name has no address."""


class TLSFailed(httpx.ConnectError):
    """No TLS session came about: a certificate was refused, or the peer speaks no TLS."""


class ConnectionReset(httpx.ReadError):
    """The connection ended before the response was complete."""


class QueueFull(httpx.PoolTimeout):
    """Every connection is busy and as many requests wait for one as may."""


class UnsendableRequest(httpx.LocalProtocolError):
    """The request cannot be written as HTTP/1.1: a field or the target would break the framing."""


class InvalidResponse(httpx.RemoteProtocolError):
    """The octets are not an HTTP/1.1 response, or its end is ambiguous."""


class TruncatedResponse(httpx.RemoteProtocolError):
    """The connection ended inside a response body."""


class _Answer(NamedTuple):
    error: type[httpx.TransportError]
    status: int
    reason: str
    message: str


_BROKEN = "The upstream service broke the connection."
_UNREACHABLE = "The upstream service cannot be reached."
_SLOW = "The upstream service did not answer in time."
_BUSY = "The service has too many requests to handle at once."

# The first row that matches decides: subclasses stand before what they refine.
_ANSWERS = (
    _Answer(NameNotResolved, 502, "upstream_unresolved", _UNREACHABLE),
    _Answer(TLSFailed, 502, "upstream_tls", _UNREACHABLE),
    _Answer(httpx.ConnectError, 502, "upstream_refused", _UNREACHABLE),
    _Answer(httpx.ConnectTimeout, 504, "upstream_connect_timeout", _SLOW),
    _Answer(httpx.ReadTimeout, 504, "upstream_read_timeout", _SLOW),
    _Answer(httpx.WriteTimeout, 504, "upstream_write_timeout", _SLOW),
    _Answer(QueueFull, 503, "upstream_queue_full", _BUSY),
    _Answer(httpx.PoolTimeout, 503, "upstream_pool_timeout", _BUSY),
    _Answer(TruncatedResponse, 502, "upstream_truncated", _BROKEN),
    _Answer(httpx.RemoteProtocolError, 502, "upstream_invalid", "The upstream service sent no valid answer."),
    _Answer(httpx.LocalProtocolError, 400, "request_unsendable", "The request cannot be forwarded."),
    _Answer(httpx.NetworkError, 502, "upstream_reset", _BROKEN),
    _Answer(httpx.TransportError, 502, "upstream_failed", _BROKEN),
)

# Neither says anything about the target: one is our own limit, the other the request's fault.
_NOT_OF_THE_TARGET = (httpx.PoolTimeout, httpx.LocalProtocolError)

NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout)
"""No connection came about, so no byte of the request has reached the target."""


def is_failure_of_target(error: httpx.TransportError) -> bool:
    """Say whether ``error`` counts against the target that was asked."""
    return not isinstance(error, _NOT_OF_THE_TARGET)


def fault_of(error: httpx.TransportError) -> Fault:
    """Return what the client is told of ``error``."""
    answer = next(row for row in _ANSWERS if isinstance(error, row.error))
    retry_after = OVERLOAD_RETRY_SECONDS if answer.status == 503 else None
    return Fault(answer.status, answer.message, reason=answer.reason, retry_after=retry_after)
