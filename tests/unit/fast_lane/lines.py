"""Two lines that differ in nothing but the fast lane, each with one connection to it."""

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from metaproxy.cache.settings import CacheRoute
from metaproxy.check import Check
from metaproxy.exchange import Identity
from metaproxy.fast_lane.lane import FastLane
from metaproxy.filters.authenticate import Authenticate
from metaproxy.filters.authorize import Authorize
from metaproxy.filters.cache import MetadataCache
from metaproxy.filters.concurrency import ConcurrencyLimit
from metaproxy.filters.cors import Cors
from metaproxy.filters.edit_headers import EditHeaders
from metaproxy.filters.guard import Guard
from metaproxy.filters.limit import RateLimit
from metaproxy.filters.metadata_items import MetadataItemLimit
from metaproxy.filters.no_cache import NoCache
from metaproxy.filters.rates import Rates
from metaproxy.filters.request_body import RequestBodyLimit
from metaproxy.filters.trace import Trace
from metaproxy.forward.proxy import Forward
from metaproxy.identity.cached import CachedValidator
from metaproxy.identity.static import StaticToken, StaticTokens
from metaproxy.line import Line as Checked
from metaproxy.protocol.compute_api import known_operations
from metaproxy.protocol.credential_rules import CredentialRule
from metaproxy.protocol.limits.rates import RateRule
from metaproxy.protocol.routes import RouteTable
from metaproxy.server.edge import Edge, EdgeLimits
from metaproxy.server.protocol import EdgeProtocol
from metaproxy.server.reading import Reader
from metaproxy.settings.units import Rate
from metaproxy.store.counters import Charge, Exchanged, Metered, Return, SendingMeter, Taken, Wish
from metaproxy.store.memory import MemoryCounters
from metaproxy.store.running import SharedRunning
from metaproxy.telemetry.dates import DateField
from metaproxy.telemetry.metrics import Metrics
from metaproxy.telemetry.requests import RequestRecord

TOKEN = "f064c46a782c444cb4ba4b6434288f7c"
"""Alice's too, and long enough to stand nowhere else."""
CAROLS = "5f0a1b2c3d4e"
"""A project whose id looks like one, so that its paths are of one kind with other projects'."""
CAROLS_TOKEN = "71c8d4f2a6e94be0a0d3f5c2b1e6a7d9"
BOUND_TOKEN = "0b7e61d2c9f84a5d8e3c1a2f4b6d7e90"
"""Alice's too, of an application credential whose access rules allow to read two things."""
RULES = (
    CredentialRule("GET", "/v2.1/t1/images/*/metadata/label"),
    CredentialRule("GET", "/v2.1/t1/servers/{id}"),
)
ITEM = "/v2.1/t1/images/i1/metadata/label"
READS = (RateRule(name="reads", rate=Rate(12, "minute")),)
EXPRESSIONS = (
    RateRule(name="items", rate=Rate(9, "minute"), regex=r"/v2\.1/[^/]+/images/([^/]+)/metadata(?:/.*)?"),
    RateRule(name="names", rate=Rate(10, "minute"), regex=r"/v2\.1/(?P<tenant>[^/]+)/.*", per=("tenant",)),
    RateRule(name="labels", rate=Rate(11, "minute"), regex=r"(?i)/.*/(?:label|missing)"),
)
CONFIGURED: tuple[Any, ...] = (
    {},
    {"edits": True},
    {"cached": False},
    {"edits": True, "cached": False},
    {"rules": EXPRESSIONS},
    {"rules": EXPRESSIONS, "cached": False},
    {"early": True},
    {"early": True, "edits": True, "cached": False},
    {"asking": True},
    {"asking": True, "early": True, "edits": True},
    {"asking": True, "early": True, "cached": False},
)
"""What a line may be configured with, beside the defaults."""
ROUTES = (
    CacheRoute(path="/v2.1/{tenant_id}/images/{image_id}/metadata/{key}", ttl=60, negative_ttl=5),
    CacheRoute(path="/v2.1/{tenant_id}/images/{image_id}/metadata", ttl=60),
)
EARLY = RateRule(
    name="attempts",
    rate=Rate(15, "minute"),
    path="/v2.1/{tenant_id}/images/**",
    per=("address",),
    before="identity",
)
REQUEST_ID = re.compile(rb"req-[0-9a-f-]{36}")


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Log:
    """Keeps the lines of the access log."""

    lines: list[Any] = field(default_factory=list)

    def write(self, line: Any) -> None:
        self.lines.append(re.sub(REQUEST_ID.pattern.decode(), "req", repr(line)))


async def upstream(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive()).get("more_body"):
        continue
    body = b'{"meta": {"label": "Updated"}}'
    if scope["path"].endswith("missing"):
        await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})
        return
    fields = [
        (b"date", b"Mon, 12 Jan 1970 13:46:40 GMT"),
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"vary", b"Accept"),
        (b"via", b"1.1 inner"),
    ]
    if scope["path"].endswith("private"):
        fields.append((b"cache-control", b"private"))
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


class Line:
    """A whole line with its clock, its log and its numbers, and one connection to it.

    What it does not answer from memory, ``forward`` answers, or else ``upstream``. With ``edits`` header
    fields are edited and pages of one origin may read answers. Without ``cached`` it has no cache routes.
    ``cache_routes`` and ``caching`` are for the cache.
    With ``early`` a rate stands before identity. ``shared`` counts the requests that run. With ``asking``
    rates are counted in a store.
    """

    def __init__(
        self,
        *,
        fast: bool,
        forward: Forward | None = None,
        edits: bool = False,
        cached: bool = True,
        rules: Sequence[RateRule] = READS,
        early: bool = False,
        shared: SharedRunning | None = None,
        asking: bool = False,
        cache_routes: Sequence[CacheRoute] = ROUTES,
        clock: Clock | None = None,
        **caching: Any,
    ) -> None:
        self.clock, self.log, self.metrics = clock or Clock(), Log(), Metrics()
        times: Any = {"monotonic": self.clock, "wall": self.clock}
        tokens = StaticTokens(
            StaticToken(
                token=token,
                identity=Identity(user_id=user, project_id=project, roles=("member",), access_rules=rules),
            )
            for token, user, project, rules in (
                ("alice", "alice", "t1", None),
                ("bob", "bob", "t2", None),
                (TOKEN, "alice", "t1", None),
                (CAROLS_TOKEN, "carol", CAROLS, None),
                (BOUND_TOKEN, "alice", "t1", RULES),
            )
        )
        self.cache = cache = MetadataCache(
            forward or upstream,
            routes=cache_routes,
            **caching,
            **times,
        )
        self.store = SharedInMemory(self.clock)
        self.rates = rates = Rates(
            [*rules, *([EARLY] if early else [])],
            shared=self.store if asking else None,
            monotonic=self.clock,
        )
        items = MetadataItemLimit(cache if cached else forward or upstream, returned=10, metrics=self.metrics)
        self.validator = validator = CachedValidator(tokens, jitter=0, metrics=self.metrics, **times)
        authenticate = Authenticate(
            validator=validator, advertise="http://identity", removes_forged=False, monotonic=self.clock
        )
        self.concurrent = ConcurrencyLimit(max=5, shared=shared, metrics=self.metrics)
        checks: list[Check] = [Guard()]
        if edits:
            checks.append(
                EditHeaders(
                    request={"remove": ["X-Long"], "set": [{"name": "X-Edge", "value": "here"}]},
                    response={
                        "remove": ["RateLimit-Policy", "X-Old"],
                        "set": [{"name": "Server", "value": "edge"}],
                        "add": [{"name": "X-Added", "value": "1"}],
                    },
                )
            )
            checks.append(Cors(origins=["https://horizon.example"]))
        if early:
            checks.append(
                RateLimit(rates=rates, before_identity=True, metrics=self.metrics, monotonic=self.clock)
            )
        checks += [
            authenticate,
            Authorize(tenant_exempt_roles=["admin"]),
            RequestBodyLimit(max_bytes=100, metrics=self.metrics),
            self.concurrent,
            RateLimit(rates=rates, metrics=self.metrics, monotonic=self.clock),
        ]
        checked = Checked([("check", check) for check in checks], items)
        routes: RouteTable[object] = RouteTable()
        for template in known_operations().templates:
            routes.add(template, None)
        record = RequestRecord(self.metrics, self.log, time=self.clock)  # type: ignore[arg-type] # keeps
        trace = Trace(checked, routes=routes, record=record, date=DateField(self.clock), clock=self.clock)
        self.lane = lane = FastLane(
            trace=trace,
            line=checked,
            authenticate=authenticate,
            counted=[items],
            cache=cache if cached else NoCache(),
            forward=forward,
        )
        edge = Edge(EdgeLimits(), trace.signature, record, trace.date, lane if fast else None)
        config = uvicorn.Config(trace, lifespan="off", log_config=None, ws="none")
        config.load()
        self._connecting = config, edge
        self.listening = ServerState()
        """Has the connections that were accepted."""
        self.wire = Wire()
        self.protocol = self.connect(self.wire)

    def connect(self, wire: "Wire | None" = None) -> EdgeProtocol:
        """Open a connection."""
        config, edge = self._connecting
        protocol = EdgeProtocol(config, ServerState(), {}, edge=edge)
        protocol.connection_made(wire or Wire())
        return protocol

    async def listen(self) -> asyncio.Server:
        """Accept connections over the loopback interface."""
        config, edge = self._connecting
        loop = asyncio.get_running_loop()
        return await loop.create_server(
            lambda: EdgeProtocol(config, self.listening, {}, edge=edge), "127.0.0.1", 0
        )

    def stored(self) -> list[bytes]:
        """Return the paths of which answers are stored."""
        return sorted(key[3] for key in self.cache._store._slots)

    async def send(self, pieces: Sequence[bytes]) -> None:
        """Let ``pieces`` arrive, and wait until nothing is left to do."""
        for piece in pieces:
            if not self.wire.closed:
                self.protocol.data_received(piece)
        self.protocol.edge.outbox.flush()
        while self.protocol.tasks or self.is_answering:
            await asyncio.sleep(0)
        self.protocol.edge.outbox.flush()

    @property
    def is_answering(self) -> bool:
        """True if a request is not answered yet, and can be."""
        return self.protocol.answers.current is not None and not self.wire.closed

    def receive(self, octets: bytes) -> None:
        """Let ``octets`` arrive, and see what is written without a task."""
        self.protocol.data_received(octets)
        self.protocol.edge.outbox.flush()

    def forbid_parsing(self) -> Reader:
        """Fail where octets are parsed from now on; return the reader that would have parsed them."""
        reader, self.protocol.reader = self.protocol.reader, Unread(self.protocol, EdgeLimits(), {})
        return reader

    def seen(self) -> tuple[bytes, list[Any], dict[str, Any]]:
        """Everything that an outsider can see of what has happened."""
        numbers = {
            family.name: sorted((s.name, tuple(sorted(s.labels.items())), s.value) for s in family.samples)
            for family in self.metrics.collect()
        }
        return REQUEST_ID.sub(b"req", b"".join(self.wire.written)), self.log.lines, numbers


class SharedInMemory:
    """Counters that several processes could share. One counter alone is asked without a task."""

    available = True
    fails = False

    def __init__(self, clock: Clock) -> None:
        self._counters = MemoryCounters(monotonic=clock)

    async def take(self, charges: Sequence[Charge], wishes: Sequence[int] = ()) -> Taken:
        await asyncio.sleep(0)
        return self._counters.take(charges)

    def meter(self, charge: Charge) -> SendingMeter:
        return SentInMemory(self, self._counters, charge)

    async def exchange(self, returns: Sequence[Return], wishes: Sequence[Wish]) -> Exchanged:
        raise NotImplementedError

    async def give_back(self, charges: Sequence[Charge]) -> None:
        raise NotImplementedError

    async def peek(self, charges: Sequence[Charge]) -> Taken:
        return self._counters.peek(charges)

    async def reset(self, consumer: str) -> int:
        return self._counters.reset(consumer)


class SentInMemory(SendingMeter):
    """A counter that replies in the next turn of the event loop, at times that it must be asked again."""

    def __init__(self, store: "SharedInMemory", counters: MemoryCounters, charge: Charge) -> None:
        self._store = store
        self._counters = counters
        self._charge = charge
        self._numbers = count()

    def send(self, receive: Callable[[Any], None]) -> bool:
        asyncio.get_running_loop().call_soon(receive, None)
        return True

    def taken(self, reply: Any) -> Metered | None:
        if self._store.fails:
            raise RuntimeError("the reply means nothing")
        if next(self._numbers) % 5 == 2:
            return None
        admitted, [state], moment, _ = self._counters.take([self._charge])
        return admitted, state, moment


class Unread(Reader):
    """Reads nothing."""

    def feed(self, data: bytes) -> None:
        raise AssertionError("octets that are known were parsed")


class Wire(asyncio.Transport):
    """The server's end of a connection: keeps what is written."""

    def __init__(self, address: str = "192.0.2.1") -> None:
        super().__init__()
        self._address = address
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    abort = write_eof = close

    def is_closing(self) -> bool:
        return self.closed

    def can_write_eof(self) -> bool:
        return True

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """What comes after the end is not delivered."""

    def pause_reading(self) -> None:
        """Reading goes by hand here."""

    resume_reading = pause_reading

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return (self._address, 4000) if name == "peername" else default


def request(
    method: str = "GET", path: str = ITEM, version: str = "1.1", fields: Sequence[str] = (), body: str = ""
) -> bytes:
    lines = [f"{method} {path} HTTP/{version}", "Host: api", *fields]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()
