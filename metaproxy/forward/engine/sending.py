"""Sending a request body as it comes, no faster than the upstream takes it."""

from typing import Protocol

from metaproxy.forward.engine.request import OutgoingRequest
from metaproxy.forward.errors import UnsendableRequest

LAST_CHUNK = b"0\r\n\r\n"


class Sink(Protocol):
    """Where body bytes are written to."""

    async def write(self, data: bytes) -> None:
        """Write ``data``; returns when there is room for more."""


async def send_body(request: OutgoingRequest, sink: Sink) -> None:
    """Send the body of ``request``, by its length or in chunks (RFC 9112 §7.1).

    Raises UnsendableRequest where the body is longer or shorter than it said: either would shift the
    border to the next request.
    """
    sent = 0
    async for data in request.body:
        if not data:
            continue
        if request.length is None:
            await sink.write(b"%x\r\n%b\r\n" % (len(data), data))
            continue
        sent += len(data)
        if sent > request.length:
            raise UnsendableRequest("the body is longer than its Content-Length")
        await sink.write(data)
        if sent == request.length:
            return
    if request.length is not None:
        raise UnsendableRequest("the body is shorter than its Content-Length")
    await sink.write(LAST_CHUNK)
