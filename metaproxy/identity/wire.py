"""Calls to an identity service over an httpx transport: one place for time limits, bounds and errors.

Facts this file rests on. A transport neither follows redirects nor keeps cookies, so neither can lead a
token elsewhere. Every call has one deadline for connection, head and body, and for all tries (``tries``).
httpcore, which stands under httpx's own transport, logs whole response heads at DEBUG, and a login's head
carries the service token: its loggers are held at INFO.
"""

import asyncio
import logging
from collections.abc import AsyncIterable, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import httpx
import msgspec

from metaproxy.clock import Clock, monotonic, wall
from metaproxy.identity.tries import Tries
from metaproxy.identity.troubles import (
    IdentityUnavailable,
    Trouble,
    printable,
    retry_after,
    translated,
    trouble_of,
)
from metaproxy.identity.validator import TokenRejected
from metaproxy.telemetry.metrics import Metrics

T = TypeVar("T")

MAX_ANSWER_BYTES = 4 * 1024 * 1024
"""A token of a large cloud, its catalog included, has some hundred KiB."""

# 400: what was asked about could not be read as a token.
_TOKEN_UNKNOWN = frozenset({400, 404})
_TOKEN_TOO_LONG = frozenset({414, 431})
LONG_TOKEN_BYTES = 4096
"""A longer token may be more than a server in front of identity reads: some answer 400 with a page."""


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer of identity, read to its end."""

    status: int
    headers: httpx.Headers
    body: bytes

    def decoded(self, shape: type[T]) -> T:
        """Return the body as ``shape``; raises IdentityUnavailable where it is not of that shape."""
        with unreadable_is_nonsense():
            return msgspec.json.decode(self.body, type=shape)

    def rejects_token(self, token: bytes) -> bool:
        """Say whether this is the verdict that ``token``, which was asked about, is none.

        Identity writes JSON or nothing; a page comes from something in front of it.
        """
        if self.status in _TOKEN_TOO_LONG or (self.status == 400 and len(token) > LONG_TOKEN_BYTES):
            return True
        return self.status in _TOKEN_UNKNOWN and self._is_json()

    def words(self, secret: str) -> str:
        """Return the message of an error document (Identity API v3, v2.0); "" if it repeats ``secret``."""
        try:
            document = msgspec.json.decode(self.body, type=_Errors)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return ""
        words = next((error.message for error in (document.error, document.unauthorized) if error), "")
        return "" if secret and secret in words else printable(words)

    def _is_json(self) -> bool:
        try:
            return not self.body or msgspec.json.decode(self.body, type=msgspec.Raw) is not None
        except msgspec.DecodeError:
            return False


class _Error(msgspec.Struct):
    message: str = ""


class _Errors(msgspec.Struct):
    error: _Error | None = None
    unauthorized: _Error | None = None


class IdentityWire:
    """Sends requests to one identity service.

    Args:
        transport: carries the requests; closed by ``close``.
        url: what every path is appended to; or several, of which one is asked (``tries``).
        timeout: seconds for one call, body and further tries included.
        metrics: where calls are counted, by operation and outcome.
    """

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport,
        url: str | Sequence[str],
        *,
        timeout: float = 5.0,
        metrics: Metrics | None = None,
        monotonic: Clock = monotonic,
        wall: Clock = wall,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        logging.getLogger("httpcore").setLevel(logging.INFO)
        metrics = metrics or Metrics()
        self._transport = transport
        self.urls = tuple(one.rstrip("/") for one in ((url,) if isinstance(url, str) else url))
        self._sleep = sleep
        self._timeout = timeout
        self._logins = self._questions = self._tries(self.urls)
        self._monotonic = monotonic
        self._wall = wall
        self._calls = metrics.counter(
            "metaproxy_identity_calls", "Calls to the identity service.", ("operation", "outcome")
        )
        self._seconds = metrics.histogram(
            "metaproxy_identity_call_seconds", "Duration of calls to identity.", ("operation",)
        )

    async def get(self, path: str, token: bytes, headers: Mapping[bytes, bytes] | None = None) -> Answered:
        """GET ``path`` under the service ``token``; raises IdentityUnavailable without an answer."""
        headers = {b"X-Auth-Token": token, **(headers or {})}
        return await self._send(self._questions, "GET", path, headers, None)

    async def post(self, path: str, body: Any) -> Answered:
        """POST ``body`` as JSON to ``path``; raises IdentityUnavailable without an answer."""
        headers = {b"Content-Type": b"application/json"}
        return await self._send(self._logins, "POST", path, headers, msgspec.json.encode(body))

    def ask_at(self, url: str) -> None:
        """Send the questions that follow to ``url``; logins go where they went before."""
        self._questions = self._tries((url,))

    def unavailable(self, answered: Answered) -> IdentityUnavailable:
        """Return what an answer that is no verdict means."""
        seconds = retry_after(answered.headers.get("retry-after"), self._wall)
        return IdentityUnavailable(
            trouble_of(answered.status), f"status {answered.status}", retry_after=seconds
        )

    def login_refused(self, answered: Answered, secret: str) -> IdentityUnavailable:
        """Return what a refused login means, in identity's own words; never with ``secret`` in them."""
        words = answered.words(secret)
        detail = f"status {answered.status}" + (f": {words}" if words else "")
        return IdentityUnavailable(Trouble.LOGIN_REFUSED, detail)

    @contextmanager
    def counted(self, operation: str) -> Iterator[None]:
        """Count the calls made inside as one ``operation``, by how it ends."""
        started = self._monotonic()
        outcome = "ok"
        try:
            yield
        except TokenRejected:
            outcome = "rejected"
            raise
        except IdentityUnavailable as error:
            outcome = error.trouble.value
            raise
        except BaseException:
            outcome = "aborted"
            raise
        finally:
            self._calls.add((operation, outcome))
            self._seconds.observe((operation,), self._monotonic() - started)

    async def close(self) -> None:
        """Close the transport."""
        await self._transport.aclose()

    def _tries(self, urls: Sequence[str]) -> Tries[Answered]:
        return Tries(urls, timeout=self._timeout, has_failed=_has_failed, sleep=self._sleep)

    async def _send(
        self,
        tries: Tries[Answered],
        method: str,
        path: str,
        headers: Mapping[bytes, bytes],
        content: bytes | None,
    ) -> Answered:
        headers = {b"Accept": b"application/json", b"Accept-Encoding": b"identity", **headers}
        timeouts = dict.fromkeys(("connect", "read", "write", "pool"), self._timeout)

        async def ask(url: str) -> Answered:
            request = httpx.Request(
                method, url + path, headers=headers, content=content, extensions={"timeout": timeouts}
            )
            response = await self._transport.handle_async_request(request)
            try:
                body = await _read(response)
            finally:
                await response.aclose()
            return Answered(response.status_code, response.headers, body)

        with translated():
            return await tries.call(ask)


def _has_failed(answered: Answered) -> bool:
    return answered.status >= 500


@contextmanager
def unreadable_is_nonsense() -> Iterator[None]:
    """Raise IdentityUnavailable for a part of an answer that does not have its shape."""
    try:
        yield
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise IdentityUnavailable(Trouble.NONSENSE, type(error).__name__) from None


async def _read(response: httpx.Response) -> bytes:
    """Return the body of ``response``, which must end within MAX_ANSWER_BYTES."""
    body = bytearray()
    async for chunk in cast(AsyncIterable[bytes], response.stream):
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise IdentityUnavailable(Trouble.NONSENSE, "an answer without end")
    return bytes(body)
