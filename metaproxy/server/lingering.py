"""How a connection ends while its client still sends: late enough that the last answer can be read.

Facts this file rests on. To close a socket with octets unread resets the connection, and a reset takes
from the client what it has received and not yet read: the answer that tells it why (RFC 9112 §9.6). So the
writing side is closed first, and what still comes is read and dropped until the client closes its side,
within bounds. TLS connections cannot be half-closed here: theirs end once the client is silent.
"""

import asyncio
from typing import Any

from metaproxy.server.edge import Edge
from metaproxy.server.flow import Flow

MOST_SECONDS = 5.0
SILENT_SECONDS = 2.0
MOST_BYTES = 8 * 1024 * 1024


class LingeringProtocol(asyncio.Protocol):
    """Takes over the connection of ``former``, whose last answer is written, until it is closed.

    Args:
        former: gets ``connection_lost``.
    """

    def __init__(
        self, former: asyncio.Protocol, transport: asyncio.Transport, edge: Edge, connections: set[Any]
    ) -> None:
        self.transport = transport
        self._former = former
        self._edge = edge
        self._connections = connections
        self._time = asyncio.get_running_loop().time
        now = self._time()
        self.deadline = now + SILENT_SECONDS
        self._end = now + MOST_SECONDS
        self._bytes_left = MOST_BYTES

    def start(self) -> None:
        """Half-close, and read from here on."""
        self._connections.discard(self._former)
        self._connections.add(self)
        self._edge.lingering += 1
        self.transport.set_protocol(self)
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def data_received(self, data: bytes) -> None:
        """The client still sends: drop it, and close once it is too much."""
        self._bytes_left -= len(data)
        self.deadline = min(self._time() + SILENT_SECONDS, self._end)
        if self._bytes_left < 0:
            self._close()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._connections.discard(self)
        self._edge.lingering -= 1
        self._former.connection_lost(exc)

    def expire(self, now: float, *, pressed: bool = False) -> None:
        """Close if the client has been silent, or heard, for long enough at ``now`` (the loop's seconds)."""
        if self.deadline < now:
            self._close()

    def shutdown(self) -> None:
        """Nothing to do when the server leaves: the end is near."""

    def _close(self) -> None:
        if self.transport.get_write_buffer_size():
            self.transport.abort()  # a client that does not read would keep it open
        else:
            self.transport.close()


def linger(
    former: asyncio.Protocol, transport: asyncio.Transport, flow: Flow, edge: Edge, connections: set[Any]
) -> None:
    """Close the connection of ``former``, after what its client still sends has been read and dropped."""
    if edge.lingering >= edge.limits.max_lingering:
        transport.close()
    elif not transport.is_closing():
        LingeringProtocol(former, transport, edge, connections).start()
        flow.resume_reading()
