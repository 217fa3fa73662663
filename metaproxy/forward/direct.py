"""A read passed on without a task, for as long as all goes well.

Most answers of an API are small and come in one piece: to carry such a one through a task and its
coroutines costs several times what it takes to read and to write it. Here the request is written on an
idle connection at once, and the answer handed on when its last byte is there. Whatever is more than
that (an answer that comes piece by piece, an interim one before it, a failure, a client that waits for
nothing) is handed over to a ``Passage``, which knows the rest of the rules. This way leads to nothing that
it would not.
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Protocol

import httpx
from starlette.types import ASGIApp, Receive, Scope, Send

from metaproxy.exchange import Exchange
from metaproxy.forward.client import NO_BODY, Client
from metaproxy.forward.engine.body import ResponseBody
from metaproxy.forward.engine.connection import Connection
from metaproxy.forward.engine.parser import ResponseHead
from metaproxy.forward.engine.pool import Pool
from metaproxy.forward.engine.request import OutgoingRequest, message, request_line
from metaproxy.forward.engine.waiting import OnInterim
from metaproxy.forward.errors import ConnectionReset
from metaproxy.forward.heads import BODILESS, upstream_request_id
from metaproxy.forward.passage import Passage, Upstream
from metaproxy.forward.seam import httpx_response
from metaproxy.forward.target import Attempt, Target
from metaproxy.forward.transport import UpstreamTransport
from metaproxy.protocol import interim
from metaproxy.protocol.faults import Fault
from metaproxy.protocol.headers import HOP_BY_HOP, Header, end_to_end
from metaproxy.tasks import TaskSet


class Delivery(Protocol):
    """Takes what comes of a request that is passed on without a task: one of the two, once."""

    def answered(self, status: int, fields: list[Header], body: bytes) -> None:
        """The upstream's answer is complete."""

    def handed_over(self, app: ASGIApp) -> None:
        """``app`` must be run, to go on with the request."""


class DirectPassages:
    """Sends reads on idle connections.

    Args:
        upstream: what all requests share.
        transport: has the connections.
        tasks: holds the watch for the clients of requests that were handed over.
    """

    def __init__(self, upstream: Upstream, transport: UpstreamTransport, tasks: TaskSet) -> None:
        self.upstream = upstream
        self.transport = transport
        self.tasks = tasks
        self._pools: dict[str, Pool] = {}

    def lease(self) -> "Lease | None":
        """Return an idle connection to the target whose turn it is; None where there is none."""
        try:
            target = self.upstream.balancer.choose()
        except Fault:
            return None
        pool = self._pools.get(target.name)
        if pool is None:
            pool = self._pools[target.name] = self.transport.pool_of(target.url)
        connection = pool.take_idle()
        return Lease(self, target, pool, connection) if connection is not None else None

    def message(self, exchange: Exchange, scope: Scope, target: Target) -> OutgoingRequest:
        """Return a request without a body as ``target`` gets it; raises httpx.TransportError."""
        heads = self.upstream.heads
        fields = heads.fields(exchange, scope, target.authority)
        return message(scope["method"], heads.target(scope), fields, NO_BODY)


class Lease:
    """A connection for one request: to be used, or given back, before the event loop's turn ends."""

    __slots__ = ("_connection", "_passages", "_pool", "_target")

    def __init__(self, passages: DirectPassages, target: Target, pool: Pool, connection: Connection) -> None:
        self._passages = passages
        self._target = target
        self._pool = pool
        self._connection = connection

    @property
    def can_be_repeated(self) -> bool:
        """Whether the same request of a client makes the same message, whichever target gets it."""
        return self._passages.upstream.heads.preserves_host

    def request_line(self, scope: Scope) -> bytes:
        """Return the first line of a request as it is sent; raises httpx.TransportError."""
        return request_line(scope["method"], self._passages.upstream.heads.target(scope))

    def message(self, exchange: Exchange, scope: Scope) -> OutgoingRequest:
        """Return a request without a body as it is sent; raises httpx.TransportError."""
        return self._passages.message(exchange, scope, self._target)

    def give_back(self) -> None:
        """Nothing is sent."""
        self._pool.give_back(self._connection)

    def send(
        self, sent: OutgoingRequest, exchange: Exchange, scope: Scope, delivery: Delivery
    ) -> "DirectPassage":
        """Send ``sent``, the request of ``exchange``."""
        return DirectPassage(self._passages, exchange, scope, delivery, sent, self._target, self._connection)


class DirectPassage:
    """One read on its way: sent when it is made. To its connection it is who takes the response."""

    __slots__ = (
        "_body",
        "_connection",
        "_delivery",
        "_error",
        "_exchange",
        "_head",
        "_interim",
        "_is_over",
        "_on_interim",
        "_outcome",
        "_passages",
        "_scope",
        "attempt",
        "message",
        "started",
        "target",
    )

    def __init__(
        self,
        passages: DirectPassages,
        exchange: Exchange,
        scope: Scope,
        delivery: Delivery,
        sent: OutgoingRequest,
        target: Target,
        connection: Connection,
    ) -> None:
        upstream = passages.upstream
        self._passages = passages
        self._exchange = exchange
        self._scope = scope
        self._delivery = delivery
        self._connection = connection
        self._head: ResponseHead | None = None
        self._error: Exception | None = None
        self._interim: Sequence[ResponseHead] = ()
        self._on_interim: OnInterim | None = None
        # Set if the request is handed over before its outcome is known; then done when it is.
        self._outcome: asyncio.Future[None] | None = None
        self._is_over = False
        self.message = sent
        self.target = target
        self.started = upstream.monotonic()
        self._body: ResponseBody | None = None
        connection.begin_whole(sent, self)
        upstream.budget.deposit()
        self.attempt = Attempt(target)

    def abandon(self) -> None:
        """The client has gone: nobody waits for the answer."""
        self._is_over = True
        self._connection.abandon()
        self.attempt.ended()

    # What a connection tells who takes the response.

    def take(self, head: ResponseHead, body: bytes) -> bool:
        """The whole response is there; False where it is not as plain as that."""
        status, received, version = head
        fields = dict(received)
        if not HOP_BY_HOP.isdisjoint(fields):
            fields = dict(received := end_to_end(received))
        length = fields.get(b"content-length")
        is_to_head = self._scope["method"] == "HEAD"
        if status in BODILESS or length is None or not (is_to_head or length == b"%d" % len(body)):
            return False
        self._is_over = True
        upstream, exchange, target = self._passages.upstream, self._exchange, self.target
        waited = upstream.monotonic() - self.started
        exchange.waited("upstream", waited, self.started)
        exchange.upstream, exchange.upstream_request_id = target.name, upstream_request_id(fields)
        if version == "1.0":
            exchange.upstream_version = version
        upstream.instruments.answered(target, status, waited)
        self.attempt.completed(status)
        received = upstream.heads.links(exchange, self._scope, received)
        self._delivery.answered(status, received, b"" if is_to_head else body)
        return True

    def by_pieces(self) -> ResponseBody:
        """The response comes piece by piece, or not at all."""
        self._body = body = ResponseBody(self._connection)
        return body

    def take_interim(self, head: ResponseHead) -> None:
        """Hand the request over: a task passes the interim response on, and waits for the final one."""
        if not interim.is_wanted(self._scope):
            return
        if self._on_interim is not None:
            self._on_interim(head)
            return
        self._interim = (*self._interim, head)
        if not self._is_over:
            self._outcome = asyncio.get_running_loop().create_future()
            self._hand_over()

    def done(self) -> bool:
        """Say whether nobody waits any more."""
        return self._is_over if self._outcome is None else self._outcome.done()

    def set_result(self, head: ResponseHead) -> None:
        """The head is there."""
        self._head = head
        self._end()

    def set_exception(self, error: Exception) -> None:
        """The answer will not come."""
        self._error = error
        self._end()

    def pass_interim_to(self, on_interim: OnInterim) -> None:
        """Call ``on_interim`` with the interim responses, those that have come already included."""
        self._on_interim = on_interim
        for head in self._interim:
            on_interim(head)

    async def response(self) -> httpx.Response:
        """Return the response for the ``Passage`` that goes on; raises httpx.TransportError."""
        if self._outcome is not None:
            try:
                await self._outcome
            except asyncio.CancelledError:
                if self._body is not None:
                    await self._body.aclose()
                raise
        if self._head is not None and self._body is not None:
            return httpx_response(self._head, self._body)
        if self._error is None:
            raise RuntimeError("a request is handed over when something has come of it")
        if isinstance(self._error, ConnectionReset):
            transport = self._passages.transport
            pool = transport.pool_of(self.target.url)
            message = self.message._replace(on_interim=self._on_interim)
            repeated = await transport.repeat(pool, self._connection, message)
            if repeated is not None:
                return httpx_response(*repeated)
        raise self._error

    async def send_to(self, target: Target) -> httpx.Response:
        """Send the request once more, for the ``Passage`` that goes on; raises httpx.TransportError."""
        passages = self._passages
        sent = self.message
        if not passages.upstream.heads.preserves_host:
            sent = passages.message(self._exchange, self._scope, target)
        return await passages.transport.send(target.url, sent._replace(on_interim=self._on_interim))

    def _end(self) -> None:
        if self._outcome is not None:
            self._outcome.set_result(None)
        else:
            self._hand_over()

    def _hand_over(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._delivery.handed_over(partial(self._go_on, self._passages.upstream))

    async def _go_on(self, upstream: Upstream, scope: Scope, receive: Receive, send: Send) -> None:
        with Client(receive, has_body=False, tasks=self._passages.tasks) as client:
            await Passage(upstream, scope, client, send).resume(self)
