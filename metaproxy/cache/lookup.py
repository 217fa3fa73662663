"""Reads answered from memory: once, or again and again."""

from dataclasses import dataclass

from starlette.types import Scope

from metaproxy.cache.answering import part_answer, special_answer
from metaproxy.cache.collections import Collections
from metaproxy.cache.memory import MemoryStore, Slot
from metaproxy.cache.requests import CacheRequest
from metaproxy.cache.routes import CacheRoutes
from metaproxy.cache.stored import Hit, Stored
from metaproxy.cache.trust import Trust
from metaproxy.clock import Clock
from metaproxy.protocol.caching.directives import NOTHING_ASKED


@dataclass(slots=True, eq=False, kw_only=True)
class Lookup:
    """Finds what a read gets from memory."""

    store: MemoryStore
    collections: Collections
    routes: CacheRoutes
    trust: Trust
    name: str
    """Our name in Cache-Status."""
    monotonic: Clock

    def find(self, request: CacheRequest, scope: Scope) -> Hit | None:
        """Return what ``request`` gets, or None; changes nothing but the order of use."""
        found = self.found(request, scope, self.monotonic())
        return found[1] if found is not None else None

    def found(self, request: CacheRequest, scope: Scope, now: float) -> tuple[Stored, Hit] | None:
        """Return what ``request`` gets at the monotonic time ``now``, with what that is made of."""
        stored = self.store.select(request.key, request.fields)
        if stored is None:
            stored = self.collections.item(request, self.routes.match(scope["path"]))
        if stored is None:
            return None if request.plain else self._part(request, scope, now)
        if not self.trust.covers(stored.asked_at, now):
            return None
        if now < stored.fresh_until and request.plain and scope["method"] == "GET":
            return stored, stored.hit(now, self.name)
        hit = special_answer(stored, request, scope["method"], now, self.name)
        return None if hit is None else (stored, hit)

    def _part(self, request: CacheRequest, scope: Scope, now: float) -> tuple[Stored, Hit] | None:
        """Return the part that ``request`` asks for, if nothing but parts is stored."""
        parts = self.store.part(request.key, request.fields) if scope["method"] == "GET" else None
        if parts is None or not self.trust.covers(parts.head.asked_at, now):
            return None
        hit = part_answer(parts, request, now, self.name)
        return None if hit is None else (parts.head, hit)


ROUNDING_SECONDS = 1e-6
"""A sum of instants may be off by less than this."""


class PreparedRead:
    """The answer of memory to one read, for when the same read comes again.

    An answer is the same until its Age changes: for a second, or until it is fresh no longer. Until then
    it is known, if only its entry is still in the store and to be trusted. The entry's content belongs to
    the store: here is only where it stands.
    """

    __slots__ = (
        "_asked_at",
        "_at",
        "_bodiless",
        "_lookup",
        "_request",
        "_scope",
        "_slot",
        "_trust",
        "_until",
    )

    def __init__(self, lookup: Lookup, request: CacheRequest, scope: Scope) -> None:
        self._lookup = lookup
        self._trust = lookup.trust
        self._request = request
        self._scope = scope
        self._slot = NO_SLOT
        self._at = 0
        self._bodiless: Hit | None = None
        self._until = self._asked_at = 0.0

    def hit(self, now: float) -> Hit | None:
        """Return the fresh answer at the monotonic time ``now``; None where the stage must be asked."""
        slot, trust = self._slot, self._trust
        if slot.current and now < self._until and now < trust.until and self._asked_at >= trust.since:
            slot.used = True
            return self._bodiless or slot.variants[self._at].latest
        return self._find(now)

    def _find(self, now: float) -> Hit | None:
        self._slot, self._bodiless = NO_SLOT, None
        found = self._lookup.found(self._request, self._scope, now)
        if found is None or found[1].revalidate:
            return None
        stored, hit = found
        slot = self._lookup.store.slot(self._request.key)
        # The client's terms of freshness may hold for an instant; a part of an entry is not to be kept.
        lasts = self._request.directives is NOTHING_ASKED and (hit is stored.latest or not hit.body)
        if slot is not None and lasts:
            self._slot, self._at, self._asked_at = slot, slot.variants.index(stored), stored.asked_at
            self._bodiless = None if hit is stored.latest else hit
            self._until = min(stored.fresh_until, stored.born + hit.age + 1 - ROUNDING_SECONDS)
        return hit


NO_SLOT = Slot([], current=False)
