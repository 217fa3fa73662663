"""What every stage is made of, and the one place that turns exceptions into answers.

A stage is a subclass of ``Stage`` with ``handle(exchange, scope, receive, send)``. On the line, stage 1
has put the Exchange into the scope; alone around an application, a stage makes one for itself.

Two exceptions end a request early: ``Fault`` becomes an answer, ``ClientDisconnected`` becomes none.
Anything else is a defect of ours: the log gets the traceback, the client a 500 that tells nothing.
Where the answer has already started there is no second start: ``ResponseAborted`` makes the server
close the connection, so that half an answer never looks like a whole one.
"""

import asyncio
from collections.abc import Callable
from typing import TypeAlias
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

logger = structlog.get_logger("metaproxy")


UNESCAPED = "/:@!$&'()*+,;=~"
"""What of a path need not be escaped (RFC 3986 §3.3), for a server that does not say how it came."""

FAILURES = frozenset({500, 502, 503, 504})
"""Faults that tell of trouble on our side; every other one tells the client that it may not."""


class ResponseAborted(Exception):
    """The answer broke off after its head was sent: the server must close the connection."""


class Stage:
    """An ASGI middleware of the line. Subclasses implement ``handle``.

    Requests reach ``handle`` with their Exchange; other scopes (lifespan, websocket) go to the next
    application untouched.
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
        if not scope.get("raw_path"):  # optional in ASGI, and not every server tells it
            scope["raw_path"] = quote(scope["path"], safe=UNESCAPED).encode("ascii")
        exchange = scope[SCOPE_KEY] = Exchange(
            new_request_id(),
            monotonic(),
            client_address=settle(scope),
            scheme=scope.get("scheme", "http"),
        )
        await Responder(exchange, scope, send).run(self, receive)


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


Check: TypeAlias = Callable[[Scope], bool]
"""Says whether a request with this target may go on; where it may not, ``decide`` must be asked."""


class DecidingStage(Stage):
    """A stage that can often decide from memory alone. Subclasses implement ``decide`` as well."""

    charges = False
    """Whether ``decide`` counts the request against something."""

    checks_kinds = False
    """Whether ``decide_target``, but for what is ``left_to_check``, says the same of all paths of a kind."""

    concerns_kinds = True
    """Whether ``concerns`` says the same of all paths of a kind (``compute_api.kind_of_path``)."""

    prepares_kinds = True
    """Whether what is ``prepared`` for one path, without a query, holds for all paths of its kind."""

    def decide(self, exchange: Exchange, scope: Scope) -> bool:
        """Decide from memory: True lets the request go on, False means that ``handle`` must be asked.

        Raises Fault for a request that is refused. Must come to the same decision as ``handle``, and may
        be asked again for the same request.
        """
        raise NotImplementedError

    def decide_target(self, exchange: Exchange, scope: Scope) -> bool:
        """Decide about another method and target, with header fields that ``decide`` has let through before.

        The Exchange is as ``decide`` had left it. True lets the request go on as ``decide`` would, without
        a change; False means that ``decide`` must be asked. Raises Fault where ``decide`` would.
        """
        return False

    def left_to_check(self, exchange: Exchange, scope: Scope) -> Check | None:
        """Return what else must be so for another target of the same method and kind of path to go on.

        ``decide_target`` has let this one through. None for nothing.
        """
        return None

    def concerns(self, method: str, path: str) -> bool:
        """Say whether the stage has anything to decide for a request without a body, whoever sends it."""
        return True

    def enter(self, exchange: Exchange) -> "Callable[[], None] | None":
        """Begin what lasts as long as a request that ``decide`` has let through; return what ends it."""
        return None

    def prepared(self, exchange: Exchange, scope: Scope) -> "Prepared":
        """Return the decision on requests that differ from this one in nothing but when they come."""
        return PreparedStage(self, exchange, scope)


Decided: TypeAlias = tuple[Fault | None, bytes]
"""Why a request is refused, None where it may go on; and lines for the head of the answer.

The Fault is never raised: others may be told the same one."""

GOES_ON: Decided = (None, b"")


class Prepared:
    """The decision of a stage on one request, for when the same request comes again."""

    __slots__ = ()

    def decide(self, exchange: Exchange) -> bool:
        """Decide as the stage's ``decide`` does."""
        raise NotImplementedError

    def enter(self, exchange: Exchange) -> "Callable[[], None] | None":
        """Begin what lasts as long as the request, as the stage's ``enter`` does."""
        return None

    def admit(self, now: float) -> Decided | None:
        """Decide on a request that comes ``now`` (monotonic seconds), and is answered at once.

        None where memory cannot decide. Raises Fault where no other request is told the same one.
        """
        raise NotImplementedError

    def refuse(self, now: float) -> Decided | None:
        """Do what ``admit`` does for a request that is refused now; count nothing for one that is not."""
        return self.admit(now)


class PreparedStage(Prepared):
    """Asks the stage each time.

    Args:
        stage: the stage.
        exchange, scope: the request; the stage has let it through, or could have.
    """

    __slots__ = ("_exchange", "_scope", "_stage")

    def __init__(self, stage: DecidingStage, exchange: Exchange, scope: Scope) -> None:
        self._stage = stage
        self._exchange = exchange
        self._scope = scope

    def decide(self, exchange: Exchange) -> bool:
        """Ask the stage."""
        return self._stage.decide(exchange, self._scope)

    def enter(self, exchange: Exchange) -> "Callable[[], None] | None":
        """Ask the stage."""
        return self._stage.enter(exchange)

    def admit(self, now: float) -> Decided | None:
        """Ask the stage with a new Exchange; raises Fault."""
        exchange = self._exchange.again("", now)
        if not self._stage.decide(exchange, self._scope):
            return None
        return (None, headers.lines(exchange.response_headers)) if exchange.response_headers else GOES_ON

    def refuse(self, now: float) -> Decided | None:
        """Ask a stage that charges nothing; raises Fault."""
        return None if self._stage.charges else self.admit(now)


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
        """Let ``app`` answer; answer in its place where it raises."""
        try:
            await app(self.scope, receive, self.send)
        except Fault as fault:
            await self._end_with(fault)
        except ClientDisconnected:
            self.exchange.outcome = "aborted"
            self.exchange.reason = self.exchange.reason or "client_disconnected"
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
        elif message["type"] == "http.response.body":
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
        self.exchange.reason = fault.reason
        if self.status:
            self.exchange.outcome = "aborted"
            raise ResponseAborted(fault.reason) from fault
        self.exchange.outcome = outcome_of(fault)
        fields, body = fault_answer(fault, self.scope)
        await self.send({"type": "http.response.start", "status": fault.status, "headers": fields})
        await self.send({"type": "http.response.body", "body": body, "more_body": False})


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
