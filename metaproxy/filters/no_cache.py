"""The cache stage of a configuration without cache routes."""

from starlette.types import Scope

from metaproxy.cache.lookup import PreparedRead
from metaproxy.cache.misses import Led
from metaproxy.cache.requests import CacheRequest
from metaproxy.cache.stored import Hit
from metaproxy.exchange import Exchange


class NoCache:
    """Has no routes, so it stores and finds nothing, and notes nothing about the reads that go past it."""

    routes_are_shaped = True

    def read(self, exchange: Exchange, scope: Scope) -> CacheRequest | None:
        """Return None: the cache is not for the request."""
        return None

    def find(self, request: CacheRequest, scope: Scope) -> Hit | None:
        """Return None: nothing is stored."""
        return None

    def prepared(self, request: CacheRequest, scope: Scope) -> PreparedRead:
        """Raise LookupError: there is no request that ``read`` has returned."""
        raise LookupError("there is no cache")

    def has_route(self, path: str) -> bool:
        """Return False: no answer is stored."""
        return False

    def may_lead(self, request: CacheRequest, scope: Scope) -> bool:
        """Return False: no answer is stored."""
        return False

    def lead(self, exchange: Exchange, scope: Scope, request: CacheRequest) -> Led | None:
        """Return None: no answer is stored."""
        return None

    def note_bypass(self, exchange: Exchange) -> None:
        """Note nothing: without a cache, answers carry no Cache-Status."""
