"""Stage 1, trace: every request gets an id, every answer Via and that id, every end a line and a count."""

from urllib.parse import quote

from starlette.types import ASGIApp, Receive, Scope, Send

from metaproxy.asgi import UNESCAPED, Responder, settle
from metaproxy.clock import Clock, monotonic
from metaproxy.exchange import SCOPE_KEY, Exchange
from metaproxy.protocol.headers import Header, Headers, get
from metaproxy.protocol.mount import NOT_MOUNTED, Mount
from metaproxy.protocol.routes import RouteTable
from metaproxy.protocol.signature import Signature
from metaproxy.request_id import is_request_id, new_request_id
from metaproxy.telemetry.dates import DateField
from metaproxy.telemetry.metrics import Metrics
from metaproxy.telemetry.requests import RequestRecord
from metaproxy.telemetry.spans import Spans


class Trace:
    """Makes the Exchange, wraps ``send`` once, and records how the request ended.

    Writes every field of the Exchange that is known from the request's head. On the answer it writes
    what the stages left in ``response_headers``, then ``Via`` after the upstream's own,
    ``X-Compute-Request-Id`` in place of the upstream's (that one goes to the log), and ``Date`` where
    the upstream sent none (RFC 9110 §6.6.1).

    Args:
        routes: templates of known operations; the template names the route in metrics and log.
        record: where the end of a request is told.
        spans: makes spans for OpenTelemetry; None makes none.
        mount: the prefix of paths. It is taken off before any stage sees the request.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        signature: Signature | None = None,
        routes: RouteTable[object] | None = None,
        record: RequestRecord | None = None,
        spans: Spans | None = None,
        date: DateField | None = None,
        clock: Clock = monotonic,
        mount: Mount = NOT_MOUNTED,
    ) -> None:
        self._mount = mount
        self.app = app
        self.signature = signature or Signature(b"1.1 metaproxy")
        self.date = date or DateField()
        self.record = record or RequestRecord(Metrics())
        self._spans = spans
        self.routes = routes or RouteTable()
        self.clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI interface."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        await self.run(self.begin(scope), self.app, scope, receive, send)

    async def run(self, exchange: Exchange, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Let ``app`` answer the request of ``exchange``, which ``begin`` has made; record its end."""
        responder = _TracedResponder(self, exchange, scope, send)
        try:
            await responder.run(app, receive)
        finally:
            self.end(exchange, scope, responder.status, responder.body_bytes)

    def begin(self, scope: Scope) -> Exchange:
        """Make the Exchange of a request and put it into ``scope``."""
        exchange = scope[SCOPE_KEY] = Exchange(new_request_id(), self.clock())
        exchange.client_address = settle(scope)
        exchange.scheme = scope.get("scheme", "http")
        self.take_prefix_off(exchange, scope)
        exchange.route = self.routes.template(scope["path"])
        for name, value in scope["headers"]:
            if name == b"x-openstack-request-id" and is_request_id(value):
                exchange.global_request_id = value.decode("ascii")
        if self._spans is not None:
            exchange.sampled = self._spans.samples(scope)
            if exchange.sampled:
                exchange.stages = []
        return exchange

    def take_prefix_off(self, exchange: Exchange, scope: Scope) -> None:
        """Take the prefix off the path of ``scope``, and write into ``exchange`` what was taken off."""
        if not self._mount:
            return
        raw_path = scope.get("raw_path") or quote(scope["path"], safe=UNESCAPED).encode("ascii")
        taken = self._mount.taken_off(raw_path)
        exchange.mount, exchange.sent_path = b"", ""
        if taken is not None:
            exchange.mount, exchange.sent_path = taken[0], scope["path"]
            scope["path"], scope["raw_path"] = self._mount.inside(scope["path"]), taken[1]

    def begin_again(self, before: Exchange) -> Exchange:
        """Make the Exchange of a request whose head is that of ``before``, to the octet."""
        return before.again(new_request_id(), self.clock())

    def head(self, exchange: Exchange, answered: Headers) -> list[Header]:
        """Return the header fields of the answer, given those of the stage that answered."""
        fields = [field for field in answered if field[0] != b"x-compute-request-id"]
        fields += exchange.response_headers
        if exchange.response_edits is not None:
            fields = exchange.response_edits.apply(fields)
        fields += self.signature.fields(exchange.upstream_version)
        fields.append((b"x-compute-request-id", exchange.request_id.encode("ascii")))
        if get(answered, b"date") is None:
            fields.append((b"date", self.date()))
        return fields

    def end(self, exchange: Exchange, scope: Scope, status: int, body_bytes: int) -> None:
        """Record that the request has ended, and call what is to be called then."""
        seconds = self.clock() - exchange.started
        path = exchange.sent_path or scope["path"]
        try:
            self.record.ended(exchange, scope["method"], path, status, body_bytes, seconds)
            if self._spans is not None:
                self._spans.ended(exchange, scope, status, seconds)
        finally:
            if exchange.ends:
                exchange.end()

    def prepared(self, exchange: Exchange, scope: Scope) -> "PreparedEnd":
        """Return how requests with the head of this one end, all of which memory answers."""
        return PreparedEnd(self, self._spans, exchange, scope)


class PreparedEnd:
    """The end of requests that differ in nothing but when they come and what memory answers."""

    __slots__ = ("_clock", "_ended", "_exchange", "_scope", "_spans")

    def __init__(self, trace: Trace, spans: Spans | None, exchange: Exchange, scope: Scope) -> None:
        self._clock = trace.clock
        self._spans = spans
        self._exchange = exchange
        self._scope = scope
        path = exchange.sent_path or scope["path"]
        self._ended = trace.record.prepared(exchange, scope["method"], path).ended

    def end(
        self,
        request_id: str,
        started: float,
        status: int,
        body_bytes: int,
        outcome: str,
        reason: str = "",
        cache_status: str = "",
    ) -> None:
        """Record that the request with this id, begun at ``started`` (monotonic seconds), has ended."""
        seconds = self._clock() - started
        self._ended(request_id, status, outcome, reason, cache_status, body_bytes, seconds)
        if self._spans is not None:
            exchange = self._exchange.again(request_id, started)
            exchange.outcome, exchange.reason, exchange.cache_status = outcome, reason, cache_status
            self._spans.ended(exchange, self._scope, status, seconds)


class _TracedResponder(Responder):
    """The responder of the line: its head is the one that Trace writes."""

    __slots__ = ("_trace",)

    def __init__(self, trace: Trace, exchange: Exchange, scope: Scope, send: Send) -> None:
        super().__init__(exchange, scope, send)
        self._trace = trace

    def head(self, answered: Headers) -> list[Header]:
        return self._trace.head(self.exchange, answered)

    def interim_head(self, answered: Headers) -> list[Header]:
        return [*super().interim_head(answered), *self._trace.signature.fields()]
