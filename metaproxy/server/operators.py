"""A connection to the operator's listener, and how many of them there may be.

Facts this file rests on. The operator's connections take descriptors of the same process as those of clients
(see ``descriptors``), and whoever reaches the listener may open them: no token is asked for before a request.
uvicorn sets no time for a request and no bound for its head: a half one would keep its connection for good.
If there is no room left, closing the oldest one that waits for its peer keeps the listener open for the
next health check: one that comes in a single piece is answered before it is the oldest.
"""

import asyncio
from typing import Any

import structlog
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from metaproxy.telemetry.repeats import Repeats

logger = structlog.get_logger("metaproxy")

MOST_OPERATORS = 24
"""Out of the reserve of ``descriptors``: probes, Prometheus, a browser's six, the commands."""
BACKLOG = 16
"""Connections that the system completes before they are accepted: no burst is larger."""
REQUEST_SECONDS = 10.0
"""For a whole request, its body included, and for a peer that does not read."""
HEAD_BYTES = 64 * 1024


class Operators:
    """The open connections of one listener, the oldest first.

    ``request_seconds`` is how long a request may take to come, and a peer to read.
    """

    def __init__(self, *, request_seconds: float = REQUEST_SECONDS) -> None:
        self.request_seconds = request_seconds
        self._open: dict[OperatorProtocol, None] = {}
        self._events = Repeats(logger.warning, number="closed")

    def __len__(self) -> int:
        """The number of open connections."""
        return len(self._open)

    def connected(self, connection: "OperatorProtocol") -> None:
        """Count a connection. If it is one too many, close the oldest that gives way, or else it."""
        self._open[connection] = None
        if len(self._open) > MOST_OPERATORS:
            next((one for one in self._open if one.gives_way), connection).give_up()
            self._events.log("connections to the admin listener are closed early", connections=MOST_OPERATORS)

    def disconnected(self, connection: "OperatorProtocol") -> None:
        """Forget a connection."""
        self._open.pop(connection, None)


class OperatorProtocol(HttpToolsProtocol):
    """One connection to the operator's listener: uvicorn's, with bounds on its time and on a head."""

    cycle: RequestResponseCycle | None  # type: ignore[assignment]
    """The request read last; None before the first, whatever uvicorn's annotation says."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        operators: Operators,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._operators = operators
        self._reading: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None
        self._in_head = True
        self._head_bytes = 0

    @property
    def gives_way(self) -> bool:
        """True if it waits for its peer, to send a request or to read, or pipelines: no operator does."""
        if self._writing is not None or self.pipeline:
            return True
        return self.cycle is None or self.cycle.response_complete or self.cycle.more_body

    def give_up(self) -> None:
        """Close at once."""
        self._operators.disconnected(self)
        self.transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The peer has connected."""
        super().connection_made(transport)
        self._reading = self._timer()
        self._operators.connected(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        super().connection_lost(exc)
        self._operators.disconnected(self)
        _cancel(self._reading)
        _cancel(self._writing)

    def data_received(self, data: bytes) -> None:
        """Octets have come."""
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > HEAD_BYTES:
            self.give_up()

    def on_message_begin(self) -> None:
        """The first octet of a request has come."""
        super().on_message_begin()
        self._in_head = True
        self._reading = self._reading or self._timer()

    def on_headers_complete(self) -> None:
        """The head of a request is complete."""
        self._in_head, self._head_bytes = False, 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """A request is complete."""
        super().on_message_complete()
        _cancel(self._reading)
        self._reading = None

    def pause_writing(self) -> None:
        """The peer reads more slowly than we write."""
        self._writing = self._timer()
        super().pause_writing()

    def resume_writing(self) -> None:
        """The peer has caught up."""
        _cancel(self._writing)
        self._writing = None
        super().resume_writing()

    def _timer(self) -> asyncio.TimerHandle:
        return self.loop.call_later(self._operators.request_seconds, self.give_up)


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
