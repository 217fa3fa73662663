"""One exchange at the upstream: which target is asked, what its answer or failure means, when to ask again.

A Call makes one Attempt after the other until a target answers. It has two carriers, and what an answer or a
failure means is the same for both:

==================  ==========================================  ==========================================
begins with         a read, and an idle connection              any request
waits by            callback of the connection (``Taker``)      a task that awaits
ends with           a whole answer that came in one piece       everything else
else                the task goes on with the same Call         a Fault, or ClientDisconnected
==================  ==========================================  ==========================================

Most answers of an API are small and come in one piece. To carry such an answer through a task and its
coroutines costs several times what it takes to read and to write it.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import httpx
from starlette.types import ASGIApp, Receive, Scope, Send

from metaproxy.clock import Clock
from metaproxy.exchange import ClientDisconnected, Exchange
from metaproxy.forward.balancer import Balancer
from metaproxy.forward.client import Client
from metaproxy.forward.engine.body import ResponseBody
from metaproxy.forward.engine.connection import Connection
from metaproxy.forward.engine.parser import ResponseHead
from metaproxy.forward.engine.pool import Pool
from metaproxy.forward.engine.request import OutgoingRequest
from metaproxy.forward.errors import NEVER_SENT, InvalidResponse, TruncatedResponse, fault_of
from metaproxy.forward.heads import BODILESS, RequestHeads, has_body, response_fields, upstream_request_id
from metaproxy.forward.instruments import Instruments
from metaproxy.forward.interim import InterimResponses
from metaproxy.forward.retry import SAFE, RetryBudget
from metaproxy.forward.seam import send_through
from metaproxy.forward.target import Attempt, Target
from metaproxy.forward.transport import UpstreamTransport
from metaproxy.protocol import interim
from metaproxy.protocol.caching import validation
from metaproxy.protocol.faults import Fault
from metaproxy.protocol.headers import Header, get
from metaproxy.tasks import TaskSet


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """The parts that all calls share. ``retries`` is how often one may be sent again.

    ``tasks`` holds the watches for clients that hang up.
    """

    transport: httpx.AsyncBaseTransport
    balancer: Balancer
    heads: RequestHeads
    retries: int
    budget: RetryBudget
    instruments: Instruments
    monotonic: Clock
    tasks: TaskSet


class Delivery(Protocol):
    """The receiver of a call that was begun without a task. One of the two is called, once."""

    def answered(self, status: int, fields: list[Header], body: bytes) -> None:
        """Take the upstream's complete answer."""

    def handed_over(self, app: ASGIApp) -> None:
        """Run ``app``, because the call goes on in a task."""


class Lease(Attempt):
    """An attempt on an idle connection: to be used, or given back, before the event loop's turn ends."""

    __slots__ = ("connection", "pool", "upstream")

    def __init__(self, upstream: Upstream, target: Target, pool: Pool, connection: Connection) -> None:
        super().__init__(target)
        self.upstream = upstream
        self.pool = pool
        self.connection = connection

    @property
    def can_be_repeated(self) -> bool:
        """True if the same request of a client makes the same message, whichever target gets it."""
        return self.upstream.heads.preserves_host

    def message(self, exchange: Exchange, scope: Scope) -> OutgoingRequest:
        """Return a request without a body as it is sent; raises httpx.TransportError."""
        return self.upstream.heads.message(exchange, scope, self.target.authority)

    def give_back(self) -> None:
        """Put the connection back, because nothing is sent."""
        self.ended()
        self.pool.give_back(self.connection)

    def send(self, message: OutgoingRequest, exchange: Exchange, scope: Scope, delivery: Delivery) -> "Call":
        """Send ``message``, the request of ``exchange``."""
        call = Call(self.upstream, exchange, scope)
        call.begin(self, message, delivery)
        return call


def idle_lease(upstream: Upstream) -> Lease | None:
    """Return an idle connection to the target whose turn it is; None if there is none."""
    transport = upstream.transport
    if not isinstance(transport, UpstreamTransport):
        return None
    try:
        target = upstream.balancer.choose()
    except Fault:
        return None
    pool = target.pool
    if pool is None:
        pool = target.pool = transport.pool_of(target.url)
    connection = pool.take_idle()
    return Lease(upstream, target, pool, connection) if connection is not None else None


class Call:
    """One exchange at the upstream, all attempts. To be carried by a task, it is an ASGI application."""

    # A Call is made for every request. Defaults are on the class, so that they cost a request nothing.
    _lease: Lease
    _message: OutgoingRequest | None = None
    _delivery: Delivery
    _response: tuple[asyncio.Future[ResponseHead], ResponseBody] | None = None
    """The future that the task waits for, if the call was begun without it."""
    _tried: tuple[Target, ...] = ()
    _has_begun = False
    """True if any of the answer has gone to the client."""
    _interim: InterimResponses | None = None
    _send: Send | None = None
    _client: Client | None = None
    """The client, once a task has begun to read its body."""

    def __init__(self, upstream: Upstream, exchange: Exchange, scope: Scope) -> None:
        upstream.budget.deposit()
        self._upstream = upstream
        self._exchange = exchange
        self._scope = scope
        self._started = upstream.monotonic()

    # Without a task: the connection calls back.

    def begin(self, lease: Lease, message: OutgoingRequest, delivery: Delivery) -> None:
        """Send ``message`` on the connection of ``lease``; ``delivery`` gets what comes of it."""
        lease.connection.begin(message, self)
        self._exchange.upstream = lease.target.name
        self._lease = lease
        self._message = message
        self._delivery = delivery

    def abandon(self) -> None:
        """Break off, because the client has left before the call was answered or handed over."""
        self.left_by(self._exchange)
        self._lease.connection.abandon()
        self._lease.ended()

    def left_by(self, exchange: Exchange) -> None:
        """Note on ``exchange`` for what its client has waited until it left."""
        exchange.upstream = self._lease.target.name
        self._note_wait(exchange)

    def take(self, head: ResponseHead, body: bytes) -> bool:
        """Take a whole response; False for one that a task must pass on."""
        fields = response_fields(head)
        values = head.values if fields is head.headers else dict(fields)
        length = values.get(b"content-length")
        is_to_head = self._scope["method"] == "HEAD"
        if length is None or head.status in BODILESS or not (is_to_head or length == b"%d" % len(body)):
            return False
        fields = self._arrived(head, fields, values, self._lease.target)
        self._lease.completed(head.status)
        self._delivery.answered(head.status, fields, b"" if is_to_head else body)
        return True

    def take_interim(self, head: ResponseHead) -> None:
        """Send an interim response to the client, or keep it for the task that will."""
        if not interim.is_wanted(self._scope):
            return
        if self._interim is None:
            self._interim = InterimResponses(self._send)
        self._interim.add(interim.message(head.status, head.headers))

    def hand_over(self, head: "asyncio.Future[ResponseHead]", body: ResponseBody) -> None:
        """Let a task go on with a response that comes piece by piece, or not at all."""
        self._response = head, body
        self._delivery.handed_over(self)

    # In a task.

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask one target after the other until one answers, and send its answer; raises Fault."""
        self._send = send
        if self._interim is not None:
            self._interim.send_to(send)
        has_a_body = has_body(self._scope["headers"])
        tasks, monotonic = self._upstream.tasks, self._upstream.monotonic
        with Client(receive, has_body=has_a_body, tasks=tasks, monotonic=monotonic) as client:
            self._client = client
            try:
                await self._ask(client, send)
            finally:
                if self._interim is not None:
                    await self._interim.aclose()

    async def _ask(self, client: Client, send: Send) -> None:
        upstream = self._upstream
        attempt = self._lease if self._response is not None else Attempt(upstream.balancer.choose())
        while True:
            try:
                with attempt:
                    self._exchange.upstream = attempt.target.name
                    head, body = await self._response_of(attempt.target, client)
                    return await self._pass_on(head, body, attempt, client, send)
            except httpx.TransportError as error:
                self._failed(error, attempt.target, client)
            except (asyncio.CancelledError, ClientDisconnected, Fault):
                if not self._has_begun:
                    self._note_wait(self._exchange)
                raise
            attempt = Attempt(upstream.balancer.choose(self._tried))

    async def _response_of(
        self, target: Target, client: Client
    ) -> tuple[ResponseHead, httpx.AsyncByteStream]:
        """Send the request to ``target``, unless that is done; raises httpx.TransportError."""
        heads, transport = self._upstream.heads, self._upstream.transport
        if not isinstance(transport, UpstreamTransport):
            fields = heads.fields(self._exchange, self._scope, target.authority)
            method, path = self._scope["method"], heads.target(self._scope)
            return await send_through(
                transport, target.url, method, path, fields, client.body, self.take_interim
            )
        message = self._message
        if message is None or not heads.preserves_host:
            message = heads.message(self._exchange, self._scope, target.authority, client.body)
        message = message._replace(on_interim=self.take_interim)
        if self._response is None:
            return await transport.send(target.url, message)
        lease, response, self._response = self._lease, self._response, None
        return await transport.finish(lease.pool, lease.connection, message, *response)

    async def _pass_on(
        self, head: ResponseHead, stream: httpx.AsyncByteStream, attempt: Attempt, client: Client, send: Send
    ) -> None:
        """Send the response to the client as it comes; raises InvalidResponse for a 304 out of place."""
        if head.status == 304 and not self._asks_for_news():
            await stream.aclose()
            raise InvalidResponse("a 304 to a request without a condition")
        attempt.answered(head.status)
        client.watch()
        try:
            fields = response_fields(head)
            length = _content_length(fields)
            fields = self._arrived(head, fields, dict(fields), attempt.target)
            self._has_begun = True
            if self._interim is not None:
                await self._interim.sent()
            await send({"type": "http.response.start", "status": head.status, "headers": fields})
            if head.status in BODILESS or self._scope["method"] == "HEAD":
                client.dismiss()
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            else:
                await _send_body(stream, length, client, send)
        finally:
            await stream.aclose()

    # The meaning of an answer and of a failure, for both.

    def _asks_for_news(self) -> bool:
        """Say whether a 304 may be the answer."""
        # The scope of a request that came before has not all of its fields; the message has.
        fields = self._scope["headers"] if self._message is None else self._message.fields()
        return validation.may_be_not_modified(self._scope["method"], fields)

    def _arrived(
        self, head: ResponseHead, fields: list[Header], values: Mapping[bytes, bytes], target: Target
    ) -> list[Header]:
        """Note that the head of an answer is there; return its ``fields`` as the client gets them."""
        upstream, exchange = self._upstream, self._exchange
        upstream.instruments.answered(target, head.status, self._note_wait(exchange))
        exchange.upstream_request_id = upstream_request_id(values)
        if head.version == "1.0":
            exchange.upstream_version = "1.0"
        return upstream.heads.links(exchange, self._scope, fields)

    def _failed(self, error: httpx.TransportError, target: Target, client: Client) -> None:
        """Note that an attempt has failed; raises Fault unless there is to be another one."""
        instruments = self._upstream.instruments
        fault = fault_of(error)
        instruments.failed(target, fault.reason, str(error))
        self._tried = (*self._tried, target)
        if not self._may_repeat(error, client):
            if not self._has_begun:
                self._note_wait(self._exchange)
            raise fault from error
        instruments.repeated(target)

    def _note_wait(self, exchange: Exchange) -> float:
        """Note how long the head of the answer, or its failure, was waited for.

        Meanwhile the client may have been slow to send its body: that time is not the upstream's.
        """
        begun = self._started + (self._client.seconds_awaited if self._client is not None else 0.0)
        waited = self._upstream.monotonic() - begun
        exchange.waited("upstream", waited, begun)
        return waited

    def _may_repeat(self, error: httpx.TransportError, client: Client) -> bool:
        """Say whether another attempt is allowed, and take it out of the budget."""
        upstream, tried = self._upstream, self._tried
        if self._has_begun or len(tried) > upstream.retries or isinstance(error, httpx.LocalProtocolError):
            return False
        if isinstance(error, NEVER_SENT) and upstream.balancer.has_other(tried):
            # Nothing was written, so whatever the method, nothing happens twice (RFC 9110 §9.2.2), and no
            # target has more to do than its own requests: this does not come out of the budget.
            return client.can_be_sent_again
        if self._scope["method"] not in SAFE or client.body is client:
            return False
        # The same target again makes sense for a broken connection alone: what was too slow or no
        # valid answer will be so again.
        worth_it = isinstance(error, httpx.NetworkError) or upstream.balancer.has_other(tried)
        return worth_it and upstream.budget.withdraw()


async def _send_body(stream: httpx.AsyncByteStream, length: int | None, client: Client, send: Send) -> None:
    """Send the body piece by piece; the message with its last byte says that it is the last."""
    left = length
    async for data in stream:
        if left is not None:
            left -= len(data)
            if left < 0:
                raise InvalidResponse("the body is longer than its Content-Length")
        if left == 0:
            client.dismiss()
        await send({"type": "http.response.body", "body": data, "more_body": left != 0})
        if left == 0:
            return
    if left:
        raise TruncatedResponse("the body is shorter than its Content-Length")
    client.dismiss()
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _content_length(fields: list[Header]) -> int | None:
    length = get(fields, b"content-length")
    if length is None:
        return None
    if not length.isdigit():
        raise InvalidResponse("a Content-Length that is not a number")
    return int(length)
