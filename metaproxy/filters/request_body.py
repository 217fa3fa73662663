"""An absolute limit: how large a request body may be."""

from functools import partial

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from metaproxy.check import Check, no_application
from metaproxy.exchange import Exchange
from metaproxy.filters.refusals import refusals
from metaproxy.protocol.faults import Fault
from metaproxy.protocol.headers import get
from metaproxy.telemetry.metrics import Metrics
from metaproxy.verdicts import PASS, Verdict

MAX_DIGITS = 4000
"""Digits of a length that are read; more of them are a length above any limit, or zeros."""


class RequestBodyLimit(Check):
    """Lets requests through whose body has at most ``max_bytes``; answers 413 to others.

    A Content-Length decides before anything is read or forwarded. A body of unknown length (chunked, or
    HTTP/2) is counted as it streams: over the limit, reading it raises, which ends the request to the
    upstream half-way. The connection is closed, since the rest of the body is still under way. Writes
    ``exchange.around`` for such a body.
    """

    passes_any_target = True  # there is nothing to hold if there is no body

    def __init__(
        self, app: ASGIApp = no_application, *, max_bytes: int, metrics: Metrics | None = None
    ) -> None:
        self.app = app
        self._max_bytes = max_bytes
        self._refusals = refusals(metrics)

    def decide(self, exchange: Exchange, scope: Scope) -> Verdict:
        """Hold a body of known length to the limit; have any other counted while it is read."""
        length = get(scope["headers"], b"content-length")
        is_coded = get(scope["headers"], b"transfer-encoding") is not None
        if length is None and not is_coded and scope["http_version"].startswith("1"):
            return PASS  # RFC 9112 §6.3: there is no body. In HTTP/2 there may be one without either field.
        if length is None or is_coded or not length.isdigit():
            exchange.around = self._counting
        elif len(length) > MAX_DIGITS or int(length) > self._max_bytes:  # Python reads no longer numbers
            return self._refusal()
        return PASS

    def _counting(self, app: ASGIApp) -> ASGIApp:
        return partial(self._counted, app)

    async def _counted(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Let ``app`` answer, with the body counted while it is read."""
        body = _CountedBody(receive, self._max_bytes)
        try:
            await app(scope, body.receive, send)
        except Exception as error:
            # The reader of the body may have turned the end of it into an error of its own.
            if body.exceeded:
                raise self._refusal() from error
            raise

    def _refusal(self) -> Fault:
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
