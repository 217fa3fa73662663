"""How a client connection ends when the process does: never under a client that could not know.

Facts this file rests on. ``Connection: close`` in the head of an answer tells a client that the connection
takes no further request (RFC 9112 §9.6). An answer whose head is out already cannot say so any more: its
client may send the next request as soon as it has read it to the end. So such a connection is kept for a
moment, like an idle one, and says it with the next answer. So is one on which a body is still coming: an
answer that does not wait for the rest of it, such as a refusal, would be lost if it were closed at once.
"""

import asyncio

from metaproxy.server.listener_tls import ListenerContext
from metaproxy.server.protocol import LINGER_SECONDS, EdgeProtocol


class LeavingProtocol(EdgeProtocol):
    """One client connection, and its end."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Take the connection, or close it if its handshake began before its authority was removed."""
        super().connection_made(transport)
        context = self.config.ssl
        if isinstance(context, ListenerContext) and not context.is_valid(transport):
            transport.abort()  # closing would still read what came with the end of the handshake

    def shutdown(self) -> None:
        """Leave gracefully: the next head says so, be it of the answer under way or of the one after it."""
        if self._is_answering() or self._is_receiving():
            self._leaving = True
        else:
            super().shutdown()

    def expire(self, now: float, *, pressed: bool = False) -> None:
        """Close the connection if a deadline has passed at ``now`` (the loop's seconds)."""
        if self._leaving and self._is_idle():
            self.deadline = min(self.deadline, now + LINGER_SECONDS)
        super().expire(now, pressed=pressed)

    def _is_answering(self) -> bool:
        """Whether the head of an answer is out and its end is not."""
        return self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete

    def _is_receiving(self) -> bool:
        """Whether a request has begun whose body has not ended."""
        return not self._between_requests and not self._in_head
