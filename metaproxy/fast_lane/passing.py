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


class Answers(Protocol):
    """The answers of the client's connection."""

    def write(self, answer: bytes, *, keep_alive: bool) -> None:
        """Write the whole answer of the request whose turn it is."""

    def pass_on(self, passing: "Passing", *, keep_alive: bool, more_body: bool) -> None:
        """Let ``passing`` answer the request whose turn it is."""

    def take_over(self, passing: "Passing", app: ASGIApp) -> None:
        """Let ``app`` go on with the request of ``passing``, in a task."""


def _nothing() -> None:
    """Stands for a function to call where there is none."""


class Passing:
    """One such read, which is also a turn of its connection: ``Answers.pass_on`` sets what belongs to that.

    Args:
        trace: the first stage.
        writer: writes the answer.
        exchange, scope: the request.
    """

    # A Passing is made for every such read. Defaults are on the class, so that they cost a request nothing.
    answers: Answers
    """The answers of the client's connection; set before the event loop's turn ends."""
    keep_alive = True
    """True if another request may follow on the connection."""
    more_body = False
    """True if the request's last octet has not come."""
    response_started = False
    ended: Callable[[], None] = staticmethod(_nothing)
    """Is called when the request has ended, however it ends."""
    task: "asyncio.Task[None] | None" = None
    """The task of the request, if it has one before it takes the line."""
    call: Call | None = None
    is_over = False
    """True if the request has ended, or a task goes on with it."""

    def __init__(self, trace: Trace, writer: Writer, exchange: Exchange, scope: Scope) -> None:
        self._trace = trace
        self._writer = writer
        self._exchange = exchange
        self.scope = scope

    def body_read(self, data: bytes) -> None:
        """Do nothing: such a request has no body."""

    def request_read(self) -> None:
        """Note that the request is complete."""
        self.more_body = False

    def client_left(self) -> None:
        """Give the request up, because the client has hung up."""
        if self.is_over:
            return
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
            keep_alive=self.keep_alive,
            version=exchange.upstream_version,
        )
        self._end(status, len(body))
        self.answers.write(answer, keep_alive=self.keep_alive)

    def handed_over(self, app: ASGIApp) -> None:
        """``app`` goes on with the request."""
        self.take_the_line(partial(self._trace.run, self._exchange, app))

    def take_the_line(self, app: ASGIApp) -> None:
        """Let ``app``, which records how the request ends, answer in a task."""
        self.is_over = True
        self.answers.take_over(self, partial(self._run, app))

    async def _run(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await app(scope, receive, send)
        finally:
            self._let_go()

    def _end(self, status: int, body_bytes: int) -> None:
        self.is_over = True
        self._trace.end(self._exchange, self.scope, status, body_bytes)
        self._let_go()

    def _let_go(self) -> None:
        self.call = None  # it holds on to us
        self.ended()
