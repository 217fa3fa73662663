"""The section ``cache``: answers that are given from memory."""

from starlette.types import ASGIApp

from metaproxy.assembly.shared import Shared
from metaproxy.cache.routes import CacheRoute
from metaproxy.config.model.cache import Cache
from metaproxy.config.model.cache import CacheRoute as ConfiguredRoute
from metaproxy.filters.cache import MetadataCache
from metaproxy.protocol.mount import Mount
from metaproxy.telemetry.metrics import Metrics


def cache(
    app: ASGIApp, section: Cache, *, shared: Shared, name: str, mount: Mount, metrics: Metrics
) -> MetadataCache:
    """Return the stage that ``section`` describes, in front of ``app``.

    ``shared`` is where replicas meet; ``name`` stands for this cache in Cache-Status; ``mount`` is the prefix
    that was taken off paths.
    """
    return MetadataCache(
        app,
        routes=[cache_route(route) for route in section.routes],
        max_bytes=section.max_bytes,
        max_entry_bytes=section.max_entry_bytes,
        scope=section.scope,
        hit_status=section.hit_status,
        respect_origin=section.respect_origin,
        client_may_bypass=section.client_may_bypass,
        name=name,
        broadcast=shared.broadcast,
        entries=shared.entries(),
        mount=mount,
        metrics=metrics,
    )


def cache_route(route: ConfiguredRoute) -> CacheRoute:
    """Return the route that ``route`` configures."""
    return CacheRoute(
        path=route.path,
        ttl=route.ttl,
        negative_ttl=route.negative_ttl,
        stale_while_revalidate=route.stale_while_revalidate,
        stale_if_error=route.stale_if_error,
        from_collection=route.from_collection,
        exact=route.exact,
    )
