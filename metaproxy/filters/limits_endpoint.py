"""``GET …/limits``: what a consumer may do, and where it stands."""

from collections.abc import Mapping, Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from metaproxy import clock
from metaproxy.asgi import Stage
from metaproxy.clock import Clock
from metaproxy.exchange import Exchange
from metaproxy.filters.rates import Rates
from metaproxy.protocol import faults, headers
from metaproxy.protocol.compute_api import resource_path
from metaproxy.protocol.faults import Fault
from metaproxy.protocol.limits.answer import Document, merged, rates_of
from metaproxy.protocol.limits.representation import parse, render
from metaproxy.protocol.mount import NOT_MOUNTED, Mount
from metaproxy.protocol.resource_table import ResourceTable
from metaproxy.protocol.routes import Match

MAX_UPSTREAM_BYTES = 1024 * 1024

NOT_FORWARDED = frozenset({b"accept-encoding", b"if-match", b"if-none-match", b"if-modified-since", b"range"})
"""Fields that would make the upstream's answer unreadable or partial."""

NOT_KEPT = frozenset({b"content-length", b"content-type", b"content-encoding", b"etag", b"last-modified"})
"""Fields of the upstream's head that describe its own body."""


class LimitsEndpoint(Stage):
    """Answers the limits endpoint: the caller's own rates, merged with what the upstream says.

    The upstream's absolute limits and rates stay; our rates come first, and of two absolute values the
    stricter is told. An upstream that is down, or whose answer is none, is left out. Every other
    request passes untouched. Reads ``identity``; an earlier stage has made sure that there is one.

    Args:
        app: the next stage; the request for the upstream's own answer goes there, too.
        rates: the rules and counters, which exempt ``path`` so that asking is never charged.
        path: one or several path templates.
        absolute: our absolute limits by their name in the API (``maxImageMeta``).
        wall: the clock that ``next-available`` is told by.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        rates: Rates,
        path: str | Sequence[str],
        absolute: Mapping[str, int] | None = None,
        mount: Mount = NOT_MOUNTED,
        wall: Clock = clock.wall,
    ) -> None:
        self.app = app
        self._rates = rates
        self._absolute = dict(absolute or {})
        self._wall = wall
        self._paths: ResourceTable[None] = ResourceTable(mount)
        for template in (path,) if isinstance(path, str) else path:
            self._paths.add(template, None)
        self.concerns_kinds = self._paths.is_shaped
        """True if ``concerns`` says the same of every path of a kind (``compute_api.kind_of_path``)."""

    def concerns(self, method: str, path: str) -> bool:
        """Say whether this is a request for the endpoint, under any of its names."""
        return method in ("GET", "HEAD") and self._paths.has(resource_path(path))

    async def handle(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for the limits; pass on any other."""
        if not self.concerns(scope["method"], scope["path"]):
            await self.app(scope, receive, send)
            return
        match = self._match(exchange, scope)
        standings = await self._rates.standings(exchange, match.captures if match else {})
        kept, theirs = await self._ask_upstream(scope, receive)
        limits = merged(theirs, rates_of(standings, self._wall()), self._absolute)
        exchange.outcome = "answered"
        await _answer(scope, send, limits, kept)

    def _match(self, exchange: Exchange, scope: Scope) -> Match[None] | None:
        tenant = exchange.identity.project_id if exchange.identity else ""
        return self._paths.match(resource_path(scope["path"]), tenant)

    async def _ask_upstream(self, scope: Scope, receive: Receive) -> tuple[headers.Headers, Document]:
        """The upstream's head (what of it is kept) and document; empty where there is none to be had."""
        answer = _Gathered()
        fields = [header for header in scope["headers"] if header[0] not in NOT_FORWARDED]
        try:
            await self.app({**scope, "method": "GET", "headers": fields}, receive, answer.send)
        except Fault as fault:
            if fault.status < 500:
                raise
            return (), {}
        return answer.kept(), answer.document() or {}


class _Gathered:
    """Takes an answer in, as far as it may be one about limits."""

    def __init__(self) -> None:
        self._status = 0
        self._headers: headers.Headers = ()
        self._body = bytearray()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status, self._headers = message["status"], message.get("headers", ())
        elif message["type"] == "http.response.body" and len(self._body) <= MAX_UPSTREAM_BYTES:
            self._body += message.get("body", b"")

    def document(self) -> Document | None:
        if not 200 <= self._status < 300 or len(self._body) > MAX_UPSTREAM_BYTES:
            return None
        return parse(bytes(self._body), headers.get(self._headers, b"content-type") or b"")

    def kept(self) -> headers.Headers:
        if not 200 <= self._status < 300:
            return ()
        return [header for header in headers.end_to_end(self._headers) if header[0] not in NOT_KEPT]


async def _answer(scope: Scope, send: Send, limits: Document, kept: headers.Headers) -> None:
    accept = headers.combined(scope["headers"], b"accept")
    media_type = faults.XML if faults.prefers_xml(scope["path"], accept) else faults.JSON
    body = render(limits, media_type)
    head = [(b"content-type", media_type), (b"content-length", b"%d" % len(body)), *kept]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
