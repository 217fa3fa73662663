"""The doors to ASGI: how a verdict becomes an answer, and the one place that turns exceptions into answers.

Trace has put the Exchange of a request into its scope; a stage that is used alone around an application
makes one for itself.

Two exceptions end a request early: ``Fault`` becomes an answer, ``ClientDisconnected`` becomes none.
Anything else is a defect of ours: the log gets the traceback, the client a 500 that tells nothing.
If the answer has already started there is no second start: ``ResponseAborted`` makes the server
close the connection, so that half an answer never looks like a whole one.
"""

import asyncio
from urllib.parse import quote

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from metaproxy.clock import monotonic
from metaproxy.exchange import SCOPE_KEY, ClientDisconnected, Exchange
from metaproxy.protocol import faults, headers, interim
from metaproxy.protocol.addresses import canonical
from metaproxy.protocol.faults import Fault
from metaproxy.protocol.received import settled
from metaproxy.request_id import new_request_id
from metaproxy.verdicts import PASS, Settled

logger = structlog.get_logger("metaproxy")


UNESCAPED = "/:@!$&'()*+,;=~"
"""Characters of a path that need no escape (RFC 3986 §3.3), for a server that does not say how it came."""

FAILURES = frozenset({500, 502, 503, 504})
"""Statuses of faults that are trouble on our side; every other fault says that the client may not."""


class ResponseAborted(Exception):
    """The answer broke off after its head was sent: the server must close the connection."""


class Stage:
    """An ASGI middleware that handles requests with their Exchange. Subclasses implement ``handle``.

    Other scopes (lifespan, websocket) go to the next application untouched.
    """

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI interface."""
        exchange = scope.get(SCOPE_KEY)
        if exchange is not None:
            await self.handle(exchange, scope, receive, send)
        elif scope["type"] == "http":
            await self._handle_alone(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def handle(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or pass it on to ``self.app``."""
        raise NotImplementedError

    async def _handle_alone(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not scope.get("raw_path"):  # optional in ASGI, and not every server says it
            scope["raw_path"] = quote(scope["path"], safe=UNESCAPED).encode("ascii")
        exchange = scope[SCOPE_KEY] = Exchange(
            new_request_id(),
            monotonic(),
            client_address=settle(scope),
            scheme=scope.get("scheme", "http"),
        )
        try:
            await Responder(exchange, scope, send).run(self, receive)
        finally:
            exchange.end()


def settle(scope: Scope) -> str:
    """Put what a head means in the place of what came; return the canonical address of the peer, "" for none.

    That is done once, where the request's Exchange is made: everything later reads the same.
    """
    scope["headers"] = settled(scope["headers"])
    client = scope.get("client")
    if not client:
        return ""
    address = canonical(client[0])
    if address != client[0]:
        scope["client"] = (address, client[1])
    return address


async def carry_out(
    verdict: Settled, app: ASGIApp, exchange: Exchange, scope: Scope, receive: Receive, send: Send
) -> None:
    """Let ``app`` answer a request that passes; write the answer to any other."""
    if verdict is PASS:
        around, exchange.around = exchange.around, None
        await (app if around is None else around(app))(scope, receive, send)
    elif isinstance(verdict, Fault):
        await _write_fault(verdict, exchange, scope, send)
    else:
        exchange.outcome = "answered"
        await send({"type": "http.response.start", "status": verdict.status, "headers": verdict.fields})
        await send({"type": "http.response.body", "body": verdict.body})


class Responder:
    """Wraps ``send`` once for a request: adds the Exchange's headers, writes faults, keeps count.

    Reads ``exchange.response_headers``; writes ``outcome`` and ``reason`` when a request ends early.
    """

    __slots__ = ("_send", "body_bytes", "complete", "exchange", "scope", "status")

    def __init__(self, exchange: Exchange, scope: Scope, send: Send) -> None:
        self.exchange = exchange
        self.scope = scope
        self._send = send
        self.status = 0
        self.body_bytes = 0
        self.complete = False

    async def run(self, app: ASGIApp, receive: Receive) -> None:
        """Let ``app`` answer; answer in its place if it raises."""
        try:
            await self._run(app, receive)
        except ClientDisconnected:
            self.exchange.outcome = "aborted"
            self.exchange.reason = self.exchange.reason or "client_disconnected"

    async def _run(self, app: ASGIApp, receive: Receive) -> None:
        try:
            await app(self.scope, receive, self.send)
        except Fault as fault:
            await self._end_with(fault)
        except ClientDisconnected:
            raise
        except asyncio.CancelledError:
            self.exchange.outcome, self.exchange.reason = "aborted", "shutdown"
            raise
        except ResponseAborted:
            raise
        except Exception:
            logger.exception("request failed", request_id=self.exchange.request_id)
            await self._end_with(Fault(500, "The server failed to answer the request.", reason="defect"))

    async def send(self, message: Message) -> None:
        """The ``send`` that the application gets."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": self.head(message.get("headers", ()))}
            try:
                await self._send(message)
            except ClientDisconnected:
                self.status = 0
                raise
            return
        if message["type"] == "http.response.body":
            self.body_bytes += len(message.get("body", b""))
            self.complete = not message.get("more_body", False)
        elif message["type"] == interim.MESSAGE:
            fields = self.interim_head(message["headers"])
            told = interim.for_server(self.scope, message["status"], fields)
            if told is None:
                return
            message = told
        await self._send(message)

    def head(self, answered: headers.Headers) -> list[headers.Header]:
        """Return the header fields of the answer, given those that the application answered."""
        exchange = self.exchange
        fields = [*answered, *exchange.response_headers]
        return fields if exchange.response_edits is None else exchange.response_edits.apply(fields)

    def interim_head(self, answered: headers.Headers) -> list[headers.Header]:
        """Return the header fields of an interim response, given those that the application sent.

        Fields that the operator removes from answers are removed here too; none are added.
        """
        edits = self.exchange.response_edits
        removed = frozenset[bytes]() if edits is None else edits.removed
        return [field for field in answered if field[0] not in removed]

    async def _end_with(self, fault: Fault) -> None:
        if self.status:
            self.exchange.outcome, self.exchange.reason = "aborted", fault.reason
            raise ResponseAborted(fault.reason) from fault
        await _write_fault(fault, self.exchange, self.scope, self.send)


async def _write_fault(fault: Fault, exchange: Exchange, scope: Scope, send: Send) -> None:
    before = exchange.outcome, exchange.reason
    exchange.outcome, exchange.reason = outcome_of(fault), fault.reason
    fields, body = fault_answer(fault, scope)
    try:
        await send({"type": "http.response.start", "status": fault.status, "headers": fields})
        await send({"type": "http.response.body", "body": body, "more_body": False})
    except ClientDisconnected:
        exchange.outcome, exchange.reason = before
        raise


def outcome_of(fault: Fault) -> str:
    """Return how a request ended that ended with ``fault``."""
    return "failed" if fault.status in FAILURES else "refused"


def fault_answer(fault: Fault, scope: Scope) -> tuple[list[headers.Header], bytes]:
    """Return the header fields and the body of the answer that tells ``fault`` to the client of ``scope``."""
    accept = headers.combined(scope["headers"], b"accept")
    media_type = faults.XML if faults.prefers_xml(scope["path"], accept) else faults.JSON
    body = faults.render(fault, media_type)
    fields = [(b"content-type", media_type), (b"content-length", b"%d" % len(body)), *fault.headers]
    if fault.retry_after is not None:
        fields.append((b"retry-after", b"%d" % fault.retry_after))
    if fault.close:
        fields.append((b"connection", b"close"))
    return fields, b"" if scope["method"] == "HEAD" else body
