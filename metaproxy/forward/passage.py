"""One request on its way to the upstream and back."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, cast

import httpx
from starlette.types import Scope, Send

from metaproxy.clock import Clock
from metaproxy.exchange import Exchange, exchange_of
from metaproxy.forward.balancer import Balancer
from metaproxy.forward.client import Client
from metaproxy.forward.engine.parser import ResponseHead
from metaproxy.forward.engine.waiting import OnInterim
from metaproxy.forward.errors import NEVER_SENT, InvalidResponse, TruncatedResponse, fault_of
from metaproxy.forward.heads import BODILESS, RequestHeads, response_fields, upstream_request_id
from metaproxy.forward.instruments import Instruments
from metaproxy.forward.interim import InterimResponses
from metaproxy.forward.retry import SAFE, RetryBudget
from metaproxy.forward.seam import OLD_VERSION, httpx_headers
from metaproxy.forward.target import Attempt, Target
from metaproxy.protocol import interim
from metaproxy.protocol.headers import Header, get


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """What all requests to the upstream share. ``retries`` is how often one may be sent again."""

    transport: httpx.AsyncBaseTransport
    balancer: Balancer
    heads: RequestHeads
    retries: int
    budget: RetryBudget
    instruments: Instruments
    monotonic: Clock


class Sent(Protocol):
    """A request that is on its way to a target already."""

    target: Target
    attempt: Attempt
    started: float
    """When it was sent (monotonic seconds)."""

    def pass_interim_to(self, on_interim: OnInterim) -> None:
        """Call ``on_interim`` with the interim responses, those that have come already included."""

    async def response(self) -> httpx.Response:
        """Return the response; raises httpx.TransportError."""

    async def send_to(self, target: Target) -> httpx.Response:
        """Send it once more; raises httpx.TransportError."""


class Passage:
    """One request on its way through: made for each, because it has a state of its own."""

    __slots__ = ("_begun", "_client", "_exchange", "_interim", "_scope", "_send", "_started", "_upstream")

    def __init__(self, upstream: Upstream, scope: Scope, client: Client, send: Send) -> None:
        self._upstream = upstream
        self._exchange: Exchange = exchange_of(scope)
        self._scope = scope
        self._client = client
        self._send = send
        self._started = upstream.monotonic()
        self._begun = False
        self._interim: InterimResponses | None = None

    async def run(self) -> None:
        """Try one target after another until one answers; raises Fault."""
        self._upstream.budget.deposit()
        try:
            await self._try_targets(self._send_to)
        finally:
            if self._interim is not None:
                await self._interim.aclose()

    async def resume(self, sent: Sent) -> None:
        """Go on with a request that was sent already; raises Fault."""
        self._started = sent.started
        sent.pass_interim_to(self._take_interim)
        try:
            await self._try_targets(sent.send_to, sent)
        finally:
            if self._interim is not None:
                await self._interim.aclose()

    async def _try_targets(
        self, send_to: Callable[[Target], Awaitable[httpx.Response]], sent: Sent | None = None
    ) -> None:
        """Take the response to ``sent``, if there is one; else, and after a failure, ``send_to`` a target."""
        upstream = self._upstream
        tried: list[Target] = []
        while True:
            target = sent.target if sent else upstream.balancer.choose(tried)
            try:
                with sent.attempt if sent else Attempt(target) as attempt:
                    response = await (sent.response() if sent else send_to(target))
                    return await self._take(response, target, attempt)
            except httpx.TransportError as error:
                fault = fault_of(error)
                self._exchange.upstream = target.name
                upstream.instruments.failed(target, fault.reason, str(error))
                tried.append(target)
                if not self._may_repeat(error, tried):
                    self._note_wait()
                    raise fault from error
                upstream.instruments.repeated(target)
                sent = None

    def _note_wait(self) -> float:
        """Write down how long the head of the answer, or its failure, was waited for."""
        waited = self._upstream.monotonic() - self._started
        if not self._begun:
            self._exchange.waited("upstream", waited, self._started)
        return waited

    def _may_repeat(self, error: httpx.TransportError, tried: list[Target]) -> bool:
        """Say whether another attempt is allowed, and take it out of the budget."""
        upstream = self._upstream
        if self._begun or len(tried) > upstream.retries or isinstance(error, httpx.LocalProtocolError):
            return False
        if isinstance(error, NEVER_SENT) and upstream.balancer.has_other(tried):
            # Nothing was written, so whatever the method, nothing happens twice (RFC 9110 §9.2.2), and no
            # target has more to do than its own requests: this does not come out of the budget.
            return self._client.can_be_sent_again
        if self._scope["method"] not in SAFE or self._client.body is self._client:
            return False
        # The same target again makes sense for a broken connection alone: what was too slow or no
        # valid answer will be so again.
        worth_it = isinstance(error, httpx.NetworkError) or upstream.balancer.has_other(tried)
        return worth_it and upstream.budget.withdraw()

    async def _send_to(self, target: Target) -> httpx.Response:
        upstream = self._upstream
        request = httpx.Request(
            self._scope["method"],
            target.url,
            headers=httpx_headers(upstream.heads.fields(self._exchange, self._scope, target.authority)),
            stream=self._client.body,
            extensions={
                "target": upstream.heads.target(self._scope),
                "on_interim": self._take_interim if interim.is_wanted(self._scope) else None,
            },
        )
        return await upstream.transport.handle_async_request(request)

    def _take_interim(self, head: ResponseHead) -> None:
        """Send an interim response to the client, while the final one is awaited."""
        if self._interim is None:
            self._interim = InterimResponses(self._send)
        self._interim.add(interim.message(head.status, head.headers))

    async def _take(self, response: httpx.Response, target: Target, attempt: Attempt) -> None:
        """Hand the response on that ``target`` gives."""
        upstream = self._upstream
        attempt.answered(response.status_code)
        upstream.instruments.answered(target, response.status_code, self._note_wait())
        self._exchange.upstream = target.name
        if response.extensions.get("http_version") == OLD_VERSION:
            self._exchange.upstream_version = "1.0"
        self._client.watch()
        # Response.aclose() does no more, and costs more.
        stream = cast("httpx.AsyncByteStream", response.stream)
        try:
            await self._answer(response, stream)
        finally:
            await stream.aclose()

    async def _answer(self, response: httpx.Response, stream: httpx.AsyncByteStream) -> None:
        has_no_body = response.status_code in BODILESS
        fields = response_fields(response.headers.raw, has_no_body=has_no_body)
        length = _content_length(fields)
        fields = self._upstream.heads.links(self._exchange, self._scope, fields)
        self._exchange.upstream_request_id = upstream_request_id(dict(fields))
        self._begun = True
        if self._interim is not None:
            await self._interim.sent()
        await self._send({"type": "http.response.start", "status": response.status_code, "headers": fields})
        if has_no_body or self._scope["method"] == "HEAD":
            await self._send_body(b"", more=False)
            return
        await self._stream(stream, length)

    async def _stream(self, stream: httpx.AsyncByteStream, length: int | None) -> None:
        """Pass the body on as it comes; its last byte goes with the word that it is the last."""
        left = length
        async for data in stream:
            if left is not None:
                left -= len(data)
                if left < 0:
                    raise InvalidResponse("the body is longer than its Content-Length")
            await self._send_body(data, more=left != 0)
            if left == 0:
                return
        if left:
            raise TruncatedResponse("the body is shorter than its Content-Length")
        await self._send_body(b"", more=False)

    async def _send_body(self, data: bytes, *, more: bool) -> None:
        if not more:
            self._client.dismiss()
        await self._send({"type": "http.response.body", "body": data, "more_body": more})


def _content_length(fields: list[Header]) -> int | None:
    length = get(fields, b"content-length")
    if length is None:
        return None
    if not length.isdigit():
        raise InvalidResponse("a Content-Length that is no number")
    return int(length)
