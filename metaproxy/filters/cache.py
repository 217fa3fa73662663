"""Stage 6: answers reads from memory as RFC 9111 and the API's own semantics allow.

It stands behind authenticate and authorize: who gets here may ask. It stands before forward: what it
cannot answer goes on, reads of one thing together, writes after purging what they concern.
"""

from collections.abc import Sequence
from dataclasses import replace

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from metaproxy import clock
from metaproxy.cache.admission import Admission, Asked
from metaproxy.cache.answering import answer
from metaproxy.cache.fetch import Fetcher
from metaproxy.cache.flights import Flights
from metaproxy.cache.memory import MemoryStore
from metaproxy.cache.misses import Misses, Read, send_hit
from metaproxy.cache.partitions import Partitions
from metaproxy.cache.requests import CacheRequest, RequestReader
from metaproxy.cache.routes import CacheRoute, CacheRoutes, tenant_tag
from metaproxy.cache.stored import Hit, Stored
from metaproxy.cache.writes import Writes
from metaproxy.clock import Clock
from metaproxy.exchange import Exchange
from metaproxy.filters.stage import Stage
from metaproxy.protocol import headers
from metaproxy.protocol.caching import cache_status, reuse
from metaproxy.protocol.caching.invalidation import is_write
from metaproxy.protocol.caching.reuse import Fresh, MustValidate
from metaproxy.protocol.faults import Fault
from metaproxy.protocol.routes import Match

READ_METHODS = frozenset({"GET", "HEAD"})

UNCHECKED = frozenset({b"authorization", b"x-auth-token", b"x-storage-token"})
"""Credentials that a cache without partitions knows nothing of."""

UNCERTAIN = frozenset({202})
"""Answers to a write that is not done yet; with every 5xx, its effect is not certain."""


class MetadataCache(Stage):
    """Answers what is stored and may be reused; fetches, stores and purges.

    Reads ``exchange.identity`` and ``exchange.captures``; writes ``outcome`` (``hit``, ``stale``,
    ``revalidated``, ``collapsed``, ``forwarded``), ``cache_status`` and, through the flight,
    ``upstream``.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        routes: Sequence[CacheRoute],
        max_bytes: int = 64 * 2**20,
        max_entry_bytes: int = 2**20,
        scope: str = "project",
        hit_status: int = 200,
        respect_origin: bool = True,
        client_may_bypass: bool = True,
        name: str = "metaproxy",
        monotonic: Clock = clock.monotonic,
        wall: Clock = clock.wall,
    ) -> None:
        self.app = app
        self._name = name
        self._monotonic = monotonic
        self._routes = CacheRoutes(routes)
        self._shared = scope == "shared"
        self._partitions = Partitions(scope)
        self._reader = RequestReader(
            obey_client=client_may_bypass,
            shared=self._shared,
            normalised_query=self._routes.normalised_query,
        )
        self._store = MemoryStore(max_bytes=max_bytes, max_entry_bytes=max_entry_bytes)
        self._flights = Flights()
        self._writes = Writes(monotonic)
        self._fetcher = Fetcher(
            app,
            admission=Admission(respect_origin=respect_origin, hit_status=hit_status),
            store=self._store,
            flights=self._flights,
            writes=self._writes,
            monotonic=monotonic,
            wall=wall,
        )
        self._misses = Misses(
            name=name, fetcher=self._fetcher, flights=self._flights, store=self._store, monotonic=monotonic
        )

    def lookup(self, exchange: Exchange, scope: Scope) -> Hit | None:
        """Return the answer to a request from memory, or None; changes nothing but the order of use.

        A hit whose ``revalidate`` is set needs the whole stage: the stale answer may be sent, but a
        new one must be fetched behind it.
        """
        if scope["method"] not in READ_METHODS:
            return None
        partition = self._partitions.of(exchange)
        if partition is None:
            return None
        request = self._reader.read(partition, exchange.scheme, scope)
        if request.bypass:
            return None
        stored = self._store.select(request.key, request.fields)
        if stored is None:
            return None
        now = self._monotonic()
        if request.plain and now < stored.fresh_until and scope["method"] == "GET":
            return stored.hit(now, self._name)
        return self._special_hit(stored, request, scope["method"], now)

    def _special_hit(self, stored: Stored, request: CacheRequest, method: str, now: float) -> Hit | None:
        verdict = reuse.assess(stored.terms, stored.age(now), request.directives)
        if isinstance(verdict, MustValidate):
            return None
        hit = answer(stored, request, method, now, self._name)
        if isinstance(verdict, Fresh):
            return hit
        return replace(hit, revalidate=verdict.revalidate)

    async def handle(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer from memory, or send the request forward as its kind asks."""
        hit = self.lookup(exchange, scope)
        if hit is not None and not hit.revalidate:
            await send_hit(hit, exchange, send)
        elif scope["method"] in READ_METHODS:
            await self._read(exchange, scope, receive, send, hit)
        elif is_write(scope["method"]):
            await self._write(exchange, scope, receive, send)
        else:
            await self._pass(exchange, scope, receive, send, cache_status.METHOD)

    async def _read(
        self, exchange: Exchange, scope: Scope, receive: Receive, send: Send, stale: Hit | None
    ) -> None:
        match = self._routes.match(scope["path"])
        partition = self._partitions.of(exchange)
        if match is None or partition is None:
            await self._pass(exchange, scope, receive, send, cache_status.BYPASS)
            return
        request = self._reader.read(partition, exchange.scheme, scope)
        if request.bypass:
            await self._pass(exchange, scope, receive, send, cache_status.BYPASS, request.bypass)
            return
        read = self._forwarded_read(exchange, scope, request, match)
        if stale is not None:
            self._misses.refresh(exchange, scope, read)
            await send_hit(stale, exchange, send)
        elif request.directives.only_if_cached:  # RFC 9111 §5.2.1.7
            raise Fault(504, "The answer is not in the cache.", reason="only_if_cached")
        elif scope["method"] == "HEAD":
            await self._pass(exchange, scope, receive, send, read.reason)
        elif request.range is not None:
            await self._pass(exchange, scope, receive, send, cache_status.PARTIAL)
        else:
            await self._misses.serve(exchange, scope, send, read)

    def _forwarded_read(
        self, exchange: Exchange, scope: Scope, request: CacheRequest, match: Match[CacheRoute]
    ) -> Read:
        stored = self._store.select(request.key, request.fields)
        if stored is not None:
            verdict = reuse.assess(stored.terms, stored.age(self._monotonic()), request.directives)
            reason = verdict.reason if isinstance(verdict, MustValidate) else cache_status.STALE
        else:
            reason = cache_status.VARY_MISS if request.key in self._store else cache_status.URI_MISS
        asked = Asked(
            lines=scope["headers"],
            directives=request.directives,
            credentials=not UNCHECKED.isdisjoint(request.fields) if self._shared else False,
            tags=self._tags(exchange, scope, request, match),
        )
        return Read(request=request, route=match.value, asked=asked, reason=reason, stale=stored)

    def _tags(
        self, exchange: Exchange, scope: Scope, request: CacheRequest, match: Match[CacheRoute]
    ) -> tuple[str, ...]:
        tags = self._routes.read_tags(match, request.fields.get(b"host", b""), scope["raw_path"])
        identity = exchange.identity
        return tags if identity is None or self._shared else (*tags, tenant_tag(identity.project_id))

    async def _write(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        host = headers.get(scope["headers"], b"host") or b""
        tags = self._routes.written_tags(scope["path"], host, scope["raw_path"], exchange.captures)
        write = object()
        settled = False

        async def send_after_purge(message: Message) -> None:
            nonlocal settled
            if message["type"] == "http.response.start":
                settled = message["status"] < 500 and message["status"] not in UNCERTAIN
                self._end_write(write, tags, settled=settled)
            await send(message)

        self._begin_write(write, tags)
        try:
            await self._pass(exchange, scope, receive, send_after_purge, cache_status.METHOD)
        finally:
            self._end_write(write, tags, settled=settled)

    def _begin_write(self, write: object, tags: Sequence[str]) -> None:
        self._writes.begin(write, tags)
        self._purge(tags)

    def _end_write(self, write: object, tags: Sequence[str], *, settled: bool) -> None:
        self._purge(tags)
        self._writes.end(write, tags, settled=settled)

    def _purge(self, tags: Sequence[str]) -> int:
        for tag in tags:
            self._flights.doom(tag)
        return sum(self._store.purge(tag) for tag in tags)

    async def _pass(
        self, exchange: Exchange, scope: Scope, receive: Receive, send: Send, reason: str, detail: str = ""
    ) -> None:
        exchange.cache_status = status = cache_status.forwarded(self._name, reason, detail=detail)
        exchange.response_headers.append((b"cache-status", status.encode("ascii")))
        await self.app(scope, receive, send)
