"""The line, assembled: which stages, in which order, with what the configuration says."""

from dataclasses import dataclass
from typing import Protocol

from starlette.types import ASGIApp, Receive, Scope, Send

from metaproxy.assembly import identity, limits, upstream
from metaproxy.assembly.authorization import authorize
from metaproxy.assembly.caching import cache
from metaproxy.assembly.routes import operation_routes
from metaproxy.config.model import Config
from metaproxy.config.model.identity import NoIdentity
from metaproxy.filters.authenticate import Authenticate
from metaproxy.filters.cache import MetadataCache
from metaproxy.filters.guard import Guard
from metaproxy.filters.limit import RateLimit
from metaproxy.filters.limits_endpoint import LimitsEndpoint
from metaproxy.filters.trace import Trace
from metaproxy.protocol.headers import via_element
from metaproxy.telemetry.access_log import AccessLog, encode_console, encode_json
from metaproxy.telemetry.metrics import Metrics
from metaproxy.telemetry.requests import RequestRecord
from metaproxy.version import __version__


class Resource(Protocol):
    """Something with a life: started before the first request, closed after the last."""

    async def start(self) -> None:
        """Begin."""
        ...

    async def close(self) -> None:
        """End."""
        ...


@dataclass(frozen=True, slots=True)
class Check:
    """One reason to be ready or not, in words."""

    well: bool
    says: str


class Application:
    """The whole line as one ASGI application, with what belongs to it.

    Give it ``start`` before the first request and ``close`` after the last, or let a server do so over
    ASGI's lifespan. ``draining`` tells that no new requests should come.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.draining = False
        self.metrics = Metrics()
        via = via_element(config.via.pseudonym, __version__ if config.via.version else None)
        self.access_log = _access_log(config)

        # Built from the last stage to the first; read from bottom to top, it is the way of a request.
        self.forward = upstream.forward(config.upstream, via, self.metrics)
        app: ASGIApp = self.forward
        self.cache: MetadataCache | None = None
        if config.cache.routes:
            self.cache = app = cache(app, config.cache)
        # The limits endpoint stands behind the rates, which exempt it: asking is never charged.
        self.rates = limits.rates(config.limits)
        self.limits_endpoint: LimitsEndpoint | None = None
        if config.limits.endpoint:
            self.limits_endpoint = app = LimitsEndpoint(
                app,
                rates=self.rates,
                path=config.limits.endpoint,
                absolute=limits.told_absolute(config.limits),
            )
        self.limit = app = RateLimit(
            app,
            rates=self.rates,
            over_limit_status=config.limits.over_limit_status,
            headers=config.limits.headers,
            metrics=self.metrics,
        )
        self.authorize = app = authorize(app, config)
        self.authenticate: Authenticate | None = None
        if not isinstance(config.identity, NoIdentity):
            self.authenticate = app = identity.authenticate(app, config.identity, self.metrics)
        self.guard = app = Guard(
            app,
            trusted_proxies=config.server.trusted_proxies,
            max_header_bytes=config.server.header_bytes,
            pseudonym=config.via.pseudonym,
        )
        self.trace = Trace(
            app,
            via=via,
            routes=operation_routes(config),
            record=RequestRecord(self.metrics, self.access_log),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI interface."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await self.trace(scope, receive, send)

    async def start(self) -> None:
        """Connect to what is outside, and begin what runs in the background."""
        for resource in self._resources():
            await resource.start()

    async def close(self) -> None:
        """End what ``start`` has begun, in the reverse order."""
        for resource in reversed(self._resources()):
            await resource.close()
        if self.access_log is not None:
            self.access_log.close()

    def readiness(self) -> dict[str, Check]:
        """Return every reason to be ready or not, by name."""
        healthy = [target.name for target in self.forward.targets if target.health.is_healthy]
        return {
            "config": Check(well=True, says="loaded"),
            "server": Check(not self.draining, "draining" if self.draining else "serving"),
            "upstream": Check(bool(healthy), f"{len(healthy)} of {len(self.forward.targets)} healthy"),
        }

    def _resources(self) -> list[Resource]:
        resources: list[Resource] = [self.forward]
        if self.authenticate is not None:
            resources.append(self.authenticate.validator)
        return resources

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


def create_app(config: Config) -> Application:
    """Return the line that ``config`` describes; raises TlsError or OSError for files it cannot use."""
    return Application(config)


def _access_log(config: Config) -> AccessLog | None:
    if not config.logging.access:
        return None
    return AccessLog(encode=encode_console if config.logging.format == "console" else encode_json)
