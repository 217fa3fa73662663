"""An absolute limit: how large a request body may be."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from metaproxy.exchange import Exchange
from metaproxy.filters.refusals import refusals
from metaproxy.filters.stage import DecidingStage
from metaproxy.protocol.faults import Fault
from metaproxy.telemetry.metrics import Metrics

MAX_DIGITS = 4000
"""Digits of a length that are read; more of them are a length above any limit, or zeros."""


class RequestBodyLimit(DecidingStage):
    """Lets requests through whose body has at most ``max_bytes``; answers 413 to others.

    A Content-Length decides before anything is read or forwarded. A body of unknown length (chunked, or
    HTTP/2) is counted as it streams: over the limit, reading it raises, which ends the request to the
    upstream half-way. The connection is closed, since the rest of the body is still under way.

    Args:
        app: the next stage.
        max_bytes: the largest body that is let through.
        metrics: counts refusals.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int, metrics: Metrics | None = None) -> None:
        self.app = app
        self._max_bytes = max_bytes
        self._refusals = refusals(metrics)

    def decide(self, exchange: Exchange, scope: Scope) -> bool:
        """Hold a body of known length to the limit; False where the length is not known."""
        length: bytes | None = None
        for name, value in scope["headers"]:
            if name == b"content-length":
                length = value
            elif name == b"transfer-encoding":
                return False
        if length is None:
            # Without either field an HTTP/1 request has no body (RFC 9112 §6.3); HTTP/2 needs neither.
            return bool(scope["http_version"].startswith("1"))
        if not length.isdigit():
            return False
        # Python reads no number of 4 300 digits or more.
        if len(length) > MAX_DIGITS or int(length) > self._max_bytes:
            raise self.refusal()
        return True

    def concerns(self, method: str, path: str) -> bool:
        """There is nothing to hold where there is no body."""
        return False

    async def handle(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, its body counted where its length is not known."""
        if self.decide(exchange, scope):
            await self.app(scope, receive, send)
            return
        body = _CountedBody(receive, self._max_bytes)
        try:
            await self.app(scope, body.receive, send)
        except Exception as error:
            # Whoever read the body may have turned the end of it into an error of its own.
            if body.exceeded:
                raise self.refusal() from error
            raise

    def refusal(self) -> Fault:
        """Count a refusal, and return the fault for it."""
        self._refusals.add(("request_body",))
        return Fault(
            413,
            f"The request body is larger than the allowed {self._max_bytes} bytes.",
            reason="body_too_large",
            close=True,
        )


class _BodyExceeded(Exception):
    """Ends the reading of a body that is too large."""


class _CountedBody:
    __slots__ = ("_left", "_receive", "exceeded")

    def __init__(self, receive: Receive, max_bytes: int) -> None:
        self._receive = receive
        self._left = max_bytes
        self.exceeded = False

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            if self._left < 0:
                self.exceeded = True
                raise _BodyExceeded
        return message
