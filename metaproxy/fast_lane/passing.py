"""A read that memory cannot answer and that every stage lets through: passed on without a task.

The stages have decided, by their own decisions; the upstream is asked by a ``forward.call.Call``. The
rest is what the first stage does at the end of every request: the head of the answer, the line of the log,
the counts.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Protocol

from starlette.types import ASGIApp, Receive, Scope, Send

from metaproxy.exchange import Exchange
from metaproxy.fast_lane.writing import Writer, passed_head
from metaproxy.filters.trace import Trace
from metaproxy.forward.call import Call
from metaproxy.protocol.headers import Header, get

End = Callable[[], None]


class Waiting(Protocol):
    """The client's side: what waits for the answer on a connection."""

    @property
    def keep_alive(self) -> bool:
        """True if another request may follow on the connection."""

    def complete(self, answer: bytes) -> None:
        """Write the whole answer."""

    def take_the_line(self, app: ASGIApp) -> None:
        """Let ``app`` answer, in a task."""


class Passing:
    """One such read. Give it who waits for the answer, before the event loop's turn ends.

    Args:
        trace: the first stage.
        writer: writes the answer.
        exchange, scope: the request.
    """

    waiting: Waiting
    task: "asyncio.Task[None] | None" = None
    """The task of the request, if it has one before it takes the line."""

    def __init__(self, trace: Trace, writer: Writer, exchange: Exchange, scope: Scope) -> None:
        self._trace = trace
        self._writer = writer
        self._exchange = exchange
        self.scope = scope
        self._ends: tuple[End, ...] = ()
        self.call: Call | None = None

    def at_end(self, end: End) -> None:
        """Have ``end`` called when the request has ended, however it ends."""
        self._ends = (*self._ends, end)

    def client_left(self) -> None:
        """The client has hung up."""
        self.give_up()
        self._exchange.outcome = "aborted"
        self._exchange.reason = self._exchange.reason or "client_disconnected"
        self._end(0, 0)

    def give_up(self) -> None:
        """Nobody waits for the answer any more."""
        if self.call is not None:
            self.call.abandon()

    # The calls of ``forward``.

    def answered(self, status: int, fields: list[Header], body: bytes) -> None:
        """The upstream's answer is complete."""
        exchange = self._exchange
        answer = self._writer.whole(
            passed_head(status, fields, exchange),
            exchange.request_id,
            body,
            is_dated=get(fields, b"date") is not None,
            keep_alive=self.waiting.keep_alive,
            version=exchange.upstream_version,
        )
        self._end(status, len(body))
        self.waiting.complete(answer)

    def handed_over(self, app: ASGIApp) -> None:
        """``app`` goes on with the request."""
        self.take_the_line(partial(self._trace.run, self._exchange, app))

    def take_the_line(self, app: ASGIApp) -> None:
        """Let ``app``, which records how the request ends, answer in a task."""
        self.waiting.take_the_line(partial(self._run, app))

    async def _run(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await app(scope, receive, send)
        finally:
            self._call_ends()

    def _end(self, status: int, body_bytes: int) -> None:
        self._trace.end(self._exchange, self.scope, status, body_bytes)
        self._call_ends()

    def _call_ends(self) -> None:
        self.call = None  # it holds on to us
        ends, self._ends = self._ends, ()
        for end in ends:
            end()
