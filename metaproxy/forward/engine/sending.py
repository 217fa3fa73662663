"""Sending a request body as it comes, no faster than the upstream takes it."""

from collections.abc import AsyncIterable
from typing import Protocol

from metaproxy.forward.engine.request import OutgoingRequest
from metaproxy.forward.errors import UnsendableRequest

LAST_CHUNK = b"0\r\n\r\n"


class Sink(Protocol):
    """The sink of a body's bytes."""

    async def write(self, data: bytes) -> None:
        """Write ``data``; returns when there is room for more."""


async def send_body(request: OutgoingRequest, sink: Sink) -> None:
    """Send the body of ``request``, by its length or in chunks (RFC 9112 §7.1).

    Raises UnsendableRequest where the body is longer or shorter than it said: either would shift the
    border to the next request.
    """
    if request.length is None:
        await _send_chunks(request.body, sink)
    else:
        await _send_exactly(request.length, request.body, sink)


async def _send_chunks(body: AsyncIterable[bytes], sink: Sink) -> None:
    async for data in body:
        # A chunk of no bytes would be the last one.
        if data:
            await sink.write(b"%x\r\n%b\r\n" % (len(data), data))
    await sink.write(LAST_CHUNK)


async def _send_exactly(length: int, body: AsyncIterable[bytes], sink: Sink) -> None:
    left = length
    async for data in body:
        left -= len(data)
        if left < 0:
            raise UnsendableRequest("the body is longer than its Content-Length")
        await sink.write(data)
    if left:
        raise UnsendableRequest("the body is shorter than its Content-Length")
