"""The parts of an application that outlive a change of configuration where that leaves them as they are."""

import ssl
from collections.abc import Callable, Iterator
from functools import partial

import structlog
from starlette.types import ASGIApp

from metaproxy.assembly.held import Held, Keeper, Resource
from metaproxy.assembly.identity import Tokens, TokenStore
from metaproxy.assembly.limits import rates
from metaproxy.assembly.shared import Shared
from metaproxy.assembly.tls import client_context, client_tls
from metaproxy.cache.debts import Debts
from metaproxy.config.model import Config
from metaproxy.config.model.identity import Keystone, NoIdentity
from metaproxy.config.model.operations import Logging, Tracing
from metaproxy.config.model.upstream import Upstream
from metaproxy.filters.cache import MetadataCache
from metaproxy.filters.concurrency import Running
from metaproxy.filters.rates import Rates
from metaproxy.forward.proxy import Forward
from metaproxy.forward.transport import UpstreamTransport
from metaproxy.identity.revocation import RevocationMemory
from metaproxy.protocol.limits.settings import Limits
from metaproxy.protocol.mount import Mount
from metaproxy.store.guesses import GuessesByAddress
from metaproxy.store.hub.shared import HubStore
from metaproxy.store.memory import MemoryCounters
from metaproxy.store.running import SharedRunning
from metaproxy.telemetry import standard
from metaproxy.telemetry.access_log import AccessLog, encode_console, encode_json
from metaproxy.telemetry.metrics import Metrics
from metaproxy.telemetry.spans import Spans, otlp_exporter

logger = structlog.get_logger(__name__)


class Parts:
    """The parts of ``previous`` as far as ``config`` says the same of it; the rest is made anew.

    Counters and the numbers of running requests are kept in any case. A part that calls a server is kept also
    if the content of its TLS files has changed: ``take_over`` gives it the new ones. Raises TlsError.
    """

    def __init__(
        self,
        config: Config,
        via: bytes,
        metrics: Metrics,
        previous: "Parts | None",
        answering: ASGIApp | None = None,
        hub: HubStore | None = None,
    ) -> None:
        self._keeper: Keeper = Keeper(previous._keeper if previous else None)
        keeper = self._keeper
        logging = config.logging
        self.access_log: Held[AccessLog] = keeper.keep("access log", logging, lambda: _access_log(logging))
        self.spans = self._spans(config.tracing)
        self.forward: Held[Forward] = keeper.keep(
            "upstream",
            (config.upstream, via),
            lambda: forward(
                config.upstream, via, metrics, client_context(config.upstream.tls, "upstream", config.files)
            ),
        )
        self.upstream: ASGIApp = answering or self.forward.part
        self.shared: Held[Shared] = keeper.keep(
            "store",
            (config.store, config.files.digests(config.store.files())),
            lambda: Shared(config.store, hub),
        )
        shared = self.shared.part
        most_counters = config.limits.max_counters
        # Debts stay, whatever else changes.
        self.debts: Debts = previous.debts if previous else Debts()
        self.cache = self._cache(config, metrics)
        # Counters are kept whatever has changed: their keys say for which rule they count.
        self.counters: Held[MemoryCounters] = keeper.keep(
            "counters", (), lambda: MemoryCounters(max_counters=most_counters)
        )
        counters = self.counters.part
        self.running: Held[Running] = keeper.keep("running", (), Running)
        self.shared_running = self._shared_running(config.limits)
        mount = Mount(config.upstream.strip_prefix)
        self.rates: Held[Rates] = keeper.keep(
            "rates",
            (config.limits, config.server.ipv6_prefix, shared, mount.prefix),
            lambda: rates(config.limits, shared, counters, mount, config.server.ipv6_prefix),
        )
        # Operators' revocations stay, whatever else changes.
        self.revoked: RevocationMemory = previous.revoked if previous else RevocationMemory()
        self.tokens: Held[Tokens] | None = None
        identity = config.identity
        if not isinstance(identity, NoIdentity):
            self.tokens = keeper.keep(
                "identity",
                (identity, shared, config.server.ipv6_prefix, config.limits.algorithm),
                lambda: Tokens(
                    identity,
                    shared.broadcast,
                    metrics,
                    _identity_tls(config),
                    record=shared.revocations(),
                    revoked=self.revoked,
                    shared=TokenStore(shared.tokens(), config.store.prefix, config.store.timeout),
                    counting=partial(
                        GuessesByAddress,
                        local=counters,
                        shared=shared.counters(config.limits.algorithm),
                        algorithm=config.limits.algorithm,
                    ),
                    ipv6_prefix=config.server.ipv6_prefix,
                ),
            )

        self._tls_files = {
            section: config.files.digests((tls.ca, tls.certificate, tls.key))
            for section, tls in client_tls(config)
        }
        self._renewals = list(self._find_renewals(config, previous)) if previous else []
        self._renewals.append(lambda: counters.hold(most_counters))
        if previous is not None and previous.cache is not None and keeper.kept("cache") is None:
            self._renewals.append(partial(_say_emptied, previous.cache.part))
        keeper.release()

    def take_over(self) -> None:
        """Give the parts that were kept what is new for them, because no request goes to ``previous`` now."""
        for renew in self._renewals:
            renew()

    def _find_renewals(self, config: Config, previous: "Parts") -> Iterator[Callable[[], None]]:
        for section, tls in client_tls(config):
            part = self._keeper.kept(section)
            if part is not None and self._tls_files[section] != previous._tls_files[section]:
                yield partial(part.renew_tls, client_context(tls, section, config.files))

    def _cache(self, config: Config, metrics: Metrics) -> Held[MetadataCache] | None:
        """The cache, kept for as long as those who answer and those who ask are the same."""
        if not config.cache.routes:
            return None
        upstream, shared, name = self.upstream, self.shared.part, config.via.pseudonym
        prefix = config.upstream.strip_prefix
        # The fields that we add for the upstream may change what it answers.
        told = config.headers.request
        who = config.identity.provider, getattr(config.identity, "url", "")
        return self._keeper.keep(
            "cache",
            (config.cache, upstream, shared, name, who, told, prefix),
            lambda: MetadataCache(
                upstream,
                config.cache,
                name=name,
                broadcast=shared.broadcast,
                entries=shared.entries(),
                debts=self.debts,
                mount=Mount(prefix),
                metrics=metrics,
            ),
        )

    def _shared_running(self, section: Limits) -> Held[SharedRunning] | None:
        """Return the requests that run in all processes; None if they are not counted together."""
        shared, concurrent = self.shared.part, section.absolute.concurrent
        slots = shared.slots() if concurrent is not None and concurrent.shared else None
        if slots is None:
            return None
        return self._keeper.keep("shared running", shared, lambda: SharedRunning(slots))

    def _spans(self, section: Tracing) -> Held[Spans] | None:
        """Return what makes spans; None if they are sent nowhere. Raises SpansUnavailable without otel."""
        endpoint = section.otlp_endpoint
        if endpoint is None:
            return None
        return self._keeper.keep(
            "spans", section, lambda: Spans(otlp_exporter(endpoint), sample=section.sample)
        )

    def all(self) -> list[Resource]:
        """Return the parts in the order in which they are started."""
        forward = self.forward if self.upstream is self.forward.part else None
        counting = (self.counters, self.running, self.shared_running, self.rates)
        parts = (self.access_log, self.spans, forward, self.shared, self.cache, *counting, self.tokens)
        return [part for part in parts if part is not None]


def _identity_tls(config: Config) -> ssl.SSLContext | None:
    identity = config.identity
    return client_context(identity.tls, "identity", config.files) if isinstance(identity, Keystone) else None


def _say_emptied(cache: MetadataCache) -> None:
    """Log that ``cache`` is not used any more: the upstream gets the reads that it answered."""
    logger.info("the cache begins empty", answers=cache.inventory.statistics().keys)


def _access_log(section: Logging) -> AccessLog:
    encode = encode_console if section.format == "console" else encode_json
    return AccessLog(standard.output(), encode=encode)


def forward(section: Upstream, via: bytes, metrics: Metrics, tls: ssl.SSLContext | None = None) -> Forward:
    """Return the application that forwards as ``section`` says.

    ``via`` is our element of Via; ``tls`` is for https:// targets.
    """
    transport = UpstreamTransport(
        connect_timeout=section.timeouts.connect,
        read_timeout=section.timeouts.read,
        write_timeout=section.timeouts.read,
        pool_timeout=section.timeouts.pool,
        max_connections=section.max_connections,
        queue=section.queue,
        connection_age=section.connection_age,
        ssl_context=tls,
        metrics=metrics,
    )
    return Forward(
        transport,
        targets=[str(target) for target in section.targets],
        via=via,
        host_header=section.host_header,
        strip_prefix=section.strip_prefix,
        retries=section.retries,
        health=section.health,
        breaker=section.breaker,
        metrics=metrics,
    )
