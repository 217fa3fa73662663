"""Stale answers in place of errors, for requests that are passed on (RFC 5861 §4)."""

from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from metaproxy.cache.deliveries import send_hit
from metaproxy.cache.stored import Hit
from metaproxy.exchange import ClientDisconnected, Exchange
from metaproxy.protocol.caching.reuse import FAILURES
from metaproxy.protocol.faults import Fault

FindStale = Callable[[int], Hit | None]
"""Returns the stale answer that may be sent in place of one of this status, 0 if there is none."""


class Fallback:
    """Passes a request on, and answers with what is stored if the origin fails."""

    def __init__(self, app: ASGIApp, find: FindStale) -> None:
        self._app = app
        self._find = find

    async def pass_on(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the application answer, unless it fails before it has begun."""
        answering = _Answering(self._find, exchange, send)
        try:
            await self._app(scope, receive, answering.send)
        except ClientDisconnected:
            if not answering.is_replaced:
                raise
        except Exception as error:
            is_refusal = isinstance(error, Fault) and error.status not in FAILURES
            if is_refusal or not await answering.replace(0):
                raise


class _Answering:
    """One answer: the application's, or the stale one in its place."""

    def __init__(self, find: FindStale, exchange: Exchange, send: Send) -> None:
        self.is_replaced = False
        self._has_begun = False
        self._find = find
        self._exchange = exchange
        self._send = send

    async def send(self, message: Message) -> None:
        """Take a message of the application."""
        if self.is_replaced:
            if message.get("more_body", False):
                raise ClientDisconnected
            return
        if message["type"] == "http.response.start":
            if message["status"] in FAILURES and await self.replace(message["status"]):
                return
            self._has_begun = True
        await self._send(message)

    async def replace(self, status: int) -> bool:
        """Send the stale answer in place of one of ``status``; return False if that is not possible."""
        hit = self._find(status) if not self._has_begun and not self.is_replaced else None
        if hit is None:
            return self.is_replaced
        self.is_replaced = True
        told = self._exchange.response_headers
        told[:] = [field for field in told if field[0] != b"cache-status"]
        await send_hit(hit, self._exchange, self._send)
        return True
