"""The line, assembled: which checks, in which order, and which origin, with what the configuration says."""

from collections.abc import Iterable
from contextlib import AsyncExitStack

from starlette.types import ASGIApp, Receive, Scope, Send

from metaproxy.assembly.held import Resource
from metaproxy.assembly.identity import authenticate
from metaproxy.assembly.limits import counted_answers, limits
from metaproxy.assembly.parts import Parts
from metaproxy.assembly.readiness import Check as Readiness
from metaproxy.assembly.readiness import identity_check, server_check, store_check, upstream_check
from metaproxy.assembly.shared import SharedState, Sharers
from metaproxy.assembly.tls import expiries
from metaproxy.check import Check
from metaproxy.config.model import Config
from metaproxy.config.model.identity import Keystone, NoIdentity
from metaproxy.fast_lane import FastLane
from metaproxy.filters.authenticate import Authenticate
from metaproxy.filters.authorize import Authorize
from metaproxy.filters.cache import MetadataCache
from metaproxy.filters.concurrency import Running
from metaproxy.filters.cors import Cors
from metaproxy.filters.edit_headers import EditHeaders
from metaproxy.filters.guard import Guard
from metaproxy.filters.limit import RateLimit
from metaproxy.filters.no_cache import NoCache
from metaproxy.filters.rates import Rates
from metaproxy.filters.trace import Trace
from metaproxy.forward.proxy import Forward
from metaproxy.identity.revocations import Revocations
from metaproxy.line import Line, TimedStage
from metaproxy.protocol.compute_api import OPERATIONS, known_operations
from metaproxy.protocol.headers import via_element
from metaproxy.protocol.mount import Mount
from metaproxy.protocol.routes import RouteTable
from metaproxy.protocol.signature import Signature
from metaproxy.store.hub.shared import HubStore
from metaproxy.store.running import SharedRunning
from metaproxy.telemetry import standard
from metaproxy.telemetry.metrics import Metrics
from metaproxy.telemetry.requests import RequestRecord
from metaproxy.version import __version__


class Application:
    """The whole line as one ASGI application, with what belongs to it.

    Give it ``start`` before the first request and ``close`` after the last, or let a server do so over
    ASGI's lifespan. ``draining`` tells that no new requests should come.

    Args:
        config: what the line is to be.
        previous: the application whose place this one takes: what it has learnt is kept where the
            configuration of that part is the same (counts, counters, tokens).
        answering: an application in this process that answers in the place of the upstream.
        hub: the connection to the supervisor, if there are several workers; that of ``previous`` by default.
    """

    def __init__(
        self,
        config: Config,
        previous: "Application | None" = None,
        *,
        answering: ASGIApp | None = None,
        hub: HubStore | None = None,
    ) -> None:
        self.config = config
        self._hub: HubStore | None = hub or (previous._hub if previous else None)
        self.draining = False
        self.metrics: Metrics = previous.metrics.successor() if previous else Metrics()
        via = via_element(config.via.pseudonym, __version__ if config.via.version else None)
        parts = Parts(config, via, self.metrics, previous._parts if previous else None, answering, self._hub)
        self._parts: Parts = parts
        self.certificate_ends = expiries(config)

        self.forward: Forward = parts.forward.part
        origin = self._timed("forward", parts.upstream)
        self.cache: MetadataCache | None = None
        if parts.cache is not None:
            self.cache = parts.cache.part
            self.cache.lead_to(origin)
            origin = self._timed("cache", self.cache)
        mount = Mount(config.upstream.strip_prefix)
        self._counted = counted_answers(origin, config.limits, parts.rates.part, self.metrics, mount)
        self.authenticate: Authenticate | None = None
        if parts.tokens is not None and not isinstance(config.identity, NoIdentity):
            self.authenticate = authenticate(
                config.identity,
                parts.tokens.part,
                mount,
                over_limit_status=config.limits.over_limit_status,
            )
        self.line = Line(self._checks(parts), self._counted[0] if self._counted else origin)
        standard.count_drops(self.metrics)
        record = RequestRecord(
            self.metrics,
            parts.access_log.part if config.logging.access else None,
            sample=config.logging.access_sample,
        )
        self.trace = Trace(
            self.line,
            signature=Signature(via),
            routes=operation_routes(config),
            record=record,
            spans=parts.spans.part if parts.spans is not None else None,
            mount=mount,
        )

    @property
    def rates(self) -> Rates:
        """The rate rules with their counters."""
        return self._parts.rates.part

    @property
    def running(self) -> Running:
        """The requests that run in this process, as far as their number is limited."""
        return self._parts.running.part

    @property
    def shared_running(self) -> SharedRunning | None:
        """The slots of these requests in the store; None if each process counts by itself."""
        held = self._parts.shared_running
        return held.part if held is not None else None

    @property
    def store(self) -> SharedState | None:
        """The connection to the state that replicas or workers share, if there is one."""
        return self._parts.shared.part.store

    @property
    def sharers(self) -> Sharers:
        """The processes that share state with this one."""
        return self._parts.shared.part.sharers

    @property
    def revocations(self) -> Revocations | None:
        """Revokes tokens; None where none are checked."""
        tokens = self._parts.tokens
        return tokens.part.revocations if tokens else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI interface."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await self.trace(scope, receive, send)

    async def start(self) -> None:
        """Connect to what is outside, and begin what runs in the background: all of it, or nothing."""
        async with AsyncExitStack() as started:
            for resource in self._resources():
                await resource.start()
                started.push_async_callback(resource.close)
            started.pop_all()

    def take_over(self) -> None:
        """Take the place of ``previous``: parts that both have get the TLS files of this configuration."""
        self._parts.take_over()

    async def close(self) -> None:
        """End what ``start`` has begun, in the reverse order."""
        for resource in reversed(self._resources()):
            await resource.close()

    def fast_lane(self) -> FastLane:
        """Return what answers the requests of a server's protocol class without a task, if it can."""
        return FastLane(
            trace=self.trace,
            line=self.line,
            authenticate=self.authenticate,
            counted=self._counted,
            cache=self.cache if self.cache is not None else NoCache(),
            forward=self.forward if self._parts.upstream is self.forward else None,
        )

    def readiness(self) -> dict[str, Readiness]:
        """Return every reason to be ready or not, and to be degraded or not, by name."""
        checks = {
            "config": Readiness(well=True, says="loaded"),
            "server": server_check(draining=self.draining),
            "upstream": upstream_check(self.forward.targets),
        }
        if self.authenticate is not None and isinstance(self.config.identity, Keystone):
            grace = self.config.identity.cache.stale_if_unavailable
            checks["identity"] = identity_check(self.authenticate.validator, grace)
        if self.store is not None:
            is_cut_off = self.cache is not None and self.cache.inventory.is_cut_off
            checks["store"] = store_check(self.store, is_cache_cut_off=is_cut_off)
        return checks

    async def settled(self) -> None:
        """Wait until the login to identity has ended; ``start`` waits for that a short while only."""
        if self._parts.tokens is not None:
            await self._parts.tokens.part.validator.settled()

    def _checks(self, parts: Parts) -> list[tuple[str, Check]]:
        """Return the checks of the line in their order, each with its name in a trace."""
        config, rates = self.config, parts.rates.part
        guard = Guard(
            trusted_proxies=config.server.trusted_proxies,
            forwarded_header=config.server.forwarded_header,
            max_header_bytes=config.server.header_bytes,
            pseudonym=config.via.pseudonym,
            templates=known_templates(config),
        )
        checks: list[tuple[str, Check]] = [("guard", guard)]  # so that the others read what is unambiguous
        if config.headers.is_on:  # in front of all that answers, so that every answer is edited
            checks.append(("headers", EditHeaders(settings=config.headers)))
        if config.cors.is_on:  # in front of the token, because a browser's preflight carries none
            checks.append(("cors", Cors(settings=config.cors)))
        if any(rule.before_identity for rule in rates.rules):  # so that attempts with made-up tokens count
            early = RateLimit(rates=rates, before_identity=True, metrics=self.metrics)
            checks.append(("early limit", early))
        if self.authenticate is not None:
            checks.append(("authenticate", self.authenticate))
        permits = Authorize(
            settings=config.authorization,
            tenant_prefixes=getattr(config.identity, "tenant_prefixes", ()),
            mount=Mount(config.upstream.strip_prefix),
        )
        checks.append(("authorize", permits))
        late = limits(
            config.limits,
            rates,
            self.running,
            self.metrics,
            config.server.ipv6_prefix,
            self.shared_running,
        )
        return checks + [("limit", check) for check in late]

    def _timed(self, stage: str, app: ASGIApp) -> ASGIApp:
        """``app``, with its time where there are spans to tell it."""
        return TimedStage(stage, app) if self._parts.spans is not None else app

    def _resources(self) -> list[Resource]:
        return self._parts.all()

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self.start()
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.close()
                await send({"type": "lifespan.shutdown.complete"})
                return


def create_app(
    config: Config,
    previous: Application | None = None,
    *,
    answering: ASGIApp | None = None,
    hub: HubStore | None = None,
) -> Application:
    """Return the line that ``config`` describes, perhaps in the place of ``previous``.

    ``answering`` is an application that stands where the upstream would be asked. ``hub`` connects to the
    supervisor of several workers; by default it is that of ``previous``.
    Raises TlsError or OSError for files that it cannot use, StoreNotInstalled, SealingNotInstalled or
    SpansUnavailable (all are ValueErrors) for an extra that is missing.
    """
    return Application(config, previous, answering=answering, hub=hub)


def operation_routes(config: Config) -> RouteTable[object]:
    """Return the table by which stage 1 names routes. Its templates bound the labels of the metrics."""
    table: RouteTable[object] = RouteTable()
    for template in dict.fromkeys((*known_operations().templates, *_configured(config))):
        table.add(template, None)
    return table


def known_templates(config: Config) -> tuple[str, ...]:
    """Return every template by which a path is matched, those of tenants and of the prefix included.

    Each speaks for all names of its resource (``protocol.resource_table``).
    """
    prefix = config.upstream.strip_prefix
    mounted = [f"{prefix}/**"] if prefix else []
    operations = [template for template, _ in OPERATIONS]
    return (*operations, *_configured(config), *config.authorization.tenant_paths, *mounted)


def _configured(config: Config) -> Iterable[str]:
    for route in config.cache.routes:
        yield route.path
    for rule in config.authorization.rules:
        yield rule.path
    for rate in config.limits.rates:
        if rate.path:
            yield rate.path
    if config.limits.endpoint:
        yield config.limits.endpoint
