"""Stage 6: answers reads from memory as RFC 9111 and the API's own semantics allow.

It stands behind authenticate and authorize: who gets here may ask. It stands before forward: what it
cannot answer goes on, reads of one thing together, writes after purging what they concern.

A cached answer is never served to someone whom the origin might have refused: answers are kept apart by
partitions (``cache.partitions``), of the project and its roles by default. The promises of replicas
to each other about writes are in ``cache.replicas``.
"""

from dataclasses import replace
from functools import partial

from starlette.types import ASGIApp, Receive, Scope, Send

from metaproxy import clock
from metaproxy.asgi import Stage
from metaproxy.cache.admission import Admission, Asked
from metaproxy.cache.answering import answer
from metaproxy.cache.collections import Collections
from metaproxy.cache.debts import Debts
from metaproxy.cache.deliveries import Read, may_replace_error, note_pass, send_hit
from metaproxy.cache.fallback import Fallback
from metaproxy.cache.fetch import Fetcher
from metaproxy.cache.flights import Flights
from metaproxy.cache.inventory import Inventory
from metaproxy.cache.lookup import Lookup, PreparedRead
from metaproxy.cache.memory import MemoryStore
from metaproxy.cache.misses import Led, Misses
from metaproxy.cache.partial import pass_on
from metaproxy.cache.partitions import Partitions
from metaproxy.cache.purges import Purges
from metaproxy.cache.replicas import Replicas
from metaproxy.cache.requests import CacheRequest, RequestReader, has_unchecked_credentials
from metaproxy.cache.routes import CacheRoutes
from metaproxy.cache.second_level import SecondLevel
from metaproxy.cache.settings import Cache, CacheRoute
from metaproxy.cache.storage import Storage
from metaproxy.cache.stored import Hit, Stored
from metaproxy.cache.withdrawals import Withdrawals
from metaproxy.cache.write_through import WriteThrough
from metaproxy.cache.writes import Writes
from metaproxy.clock import Clock
from metaproxy.exchange import Exchange
from metaproxy.protocol.caching import cache_status, reuse
from metaproxy.protocol.caching.invalidation import is_write
from metaproxy.protocol.caching.reuse import MustValidate
from metaproxy.protocol.faults import Fault
from metaproxy.protocol.mount import NOT_MOUNTED, Mount
from metaproxy.protocol.routes import Match
from metaproxy.settings.section import chosen
from metaproxy.store.broadcast import Broadcast, LocalBroadcast
from metaproxy.store.entries import SharedEntries
from metaproxy.telemetry.metrics import Metrics

__all__ = ["CacheRoute", "MetadataCache"]

READ_METHODS = frozenset({"GET", "HEAD"})


class MetadataCache(Stage):
    """Answers what is stored and may be reused; fetches, stores and purges.

    Reads ``exchange.identity`` and ``scheme``; writes ``outcome`` (``hit``, ``stale``,
    ``revalidated``, ``collapsed``, ``forwarded``), ``cache_status`` and, for reads, ``upstream``.
    Raises Fault 504 (``only_if_cached``) for a client that wants memory or nothing.

    Args:
        settings: what may be stored and for whom; or else its options by name: ``routes``, ``scope``, …
        name: our name in Cache-Status.
        broadcast: reaches the other replicas; by default there are none.
        entries: a second level of stored answers that replicas share.
        debts: what a cache before this one had to tell the other replicas.
        metrics: where hits, purges and the store's size are counted.
    """

    def __init__(
        self,
        app: ASGIApp,
        /,
        settings: Cache | None = None,
        *,
        name: str = "metaproxy",
        broadcast: Broadcast | None = None,
        entries: SharedEntries | None = None,
        debts: Debts | None = None,
        mount: Mount = NOT_MOUNTED,
        metrics: Metrics | None = None,
        monotonic: Clock = clock.monotonic,
        wall: Clock = clock.wall,
        **options: object,
    ) -> None:
        settings = chosen(Cache, settings, options)
        self.app = app
        self._name = name
        self._bypass = cache_status.forwarded(name, cache_status.BYPASS)
        self._monotonic = monotonic
        self._shared = settings.scope == "shared"
        self._partitions = Partitions(settings.scope)
        self._routes = CacheRoutes(settings.routes, mount)
        self.routes_are_shaped = self._routes.are_shaped
        self._reader = RequestReader(
            obey_client=settings.client_may_bypass,
            shared=self._shared,
            normalised_query=self._routes.normalised_query,
        )
        self._store = MemoryStore(max_bytes=settings.max_bytes, max_entry_bytes=settings.max_entry_bytes)
        self._collections = Collections(self._store, monotonic)
        flights, writes = Flights(), Writes(monotonic)
        purges = Purges(self._store, flights, writes)
        self._replicas = Replicas(
            broadcast or LocalBroadcast(), purges, entries=entries, debts=debts, monotonic=monotonic
        )
        self._trust = self._replicas.trust
        self._lookup = Lookup(
            store=self._store,
            collections=self._collections,
            routes=self._routes,
            trust=self._trust,
            name=name,
            monotonic=monotonic,
        )
        second_level = (
            SecondLevel(entries, monotonic=monotonic, wall=wall, owe=self._replicas.owe) if entries else None
        )
        self._withdrawals = Withdrawals(self._store, self._collections, second_level, monotonic)
        self._write_through = WriteThrough(self._routes, self._replicas)
        self._storage = Storage(
            admission=Admission(respect_origin=settings.respect_origin, hit_status=settings.hit_status),
            store=self._store,
            withdrawals=self._withdrawals,
            flights=flights,
            writes=writes,
            trust=self._trust,
            monotonic=monotonic,
            wall=wall,
        )
        self._fetcher = Fetcher(app, self._storage, second_level)
        self._misses = Misses(
            name=name, fetcher=self._fetcher, flights=flights, trust=self._trust, monotonic=monotonic
        )
        self.inventory = Inventory(
            store=self._store,
            routes=self._routes,
            flights=flights,
            purges=purges,
            replicas=self._replicas,
            metrics=metrics or Metrics(),
        )

    def lead_to(self, app: ASGIApp) -> None:
        """Let ``app`` be the next application."""
        self.app = self._fetcher.app = app

    async def start(self) -> None:
        """Do nothing: it has listened to the other replicas since it was made."""

    async def close(self) -> None:
        """Leave the other replicas, and what is being fetched."""
        await self._misses.close()
        await self._fetcher.close()
        await self._replicas.close()

    def lookup(self, exchange: Exchange, scope: Scope) -> Hit | None:
        """Return the answer to a request from memory, or None; behind a stale one the stage must fetch."""
        request = self.read(exchange, scope)
        return self.find(request, scope) if request is not None else None

    def read(self, exchange: Exchange, scope: Scope) -> CacheRequest | None:
        """Return what a request asks of the cache, or None where the cache is not for it."""
        if scope["method"] not in READ_METHODS or self._routes.match(scope["path"]) is None:
            return None
        partition = self._partitions.of(exchange)
        if partition is None:
            return None
        request = self._reader.read(partition, exchange.scheme, scope, exchange.mount, exchange.told_by_proxy)
        return None if request.bypass else request

    def find(self, request: CacheRequest, scope: Scope) -> Hit | None:
        """Return the answer to what was ``read``, or None: the other half of ``lookup``."""
        return self._lookup.find(request, scope)

    def prepared(self, request: CacheRequest, scope: Scope) -> PreparedRead:
        """Return what memory answers to what was ``read``, for when it comes again."""
        return PreparedRead(self._lookup, request, scope)

    def may_lead(self, request: CacheRequest, scope: Scope) -> bool:
        """Say whether it is worth a try to ``lead`` a flight for what was ``read`` and not found."""
        if not request.plain or scope["method"] != "GET" or not self._misses.may_lead(request):
            return False
        if self._store.slot(request.key) is None:
            return True
        stored = self._store.select(request.key, request.fields)
        return stored is None and self._store.part(request.key, request.fields) is None

    def lead(self, exchange: Exchange, scope: Scope, request: CacheRequest) -> Led | None:
        """Begin to fetch what it ``may_lead``; the caller asks. None for a path without a route."""
        if (match := self._routes.match(scope["path"])) is None:
            return None
        led = self._misses.lead(exchange, scope, self._forwarded_read(exchange, scope, request, match, None))
        if match.value.from_collection:
            self._fetch_collection(exchange, scope, request, match)
        return led

    def has_route(self, path: str) -> bool:
        """Say whether answers to reads of ``path`` may be stored."""
        return self._routes.has(path)

    def note_bypass(self, exchange: Exchange) -> None:
        """Write into ``exchange`` that a read without a route went on."""
        note_pass(exchange, self._bypass)

    async def handle(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer from memory, or send the request forward as its kind asks."""
        if scope["method"] in READ_METHODS:
            await self._read(exchange, scope, receive, send)
        elif is_write(scope["method"]):
            await self._write(exchange, scope, receive, send)
        else:
            await self._pass(exchange, scope, receive, send, cache_status.METHOD)

    async def _read(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        match = self._routes.match(scope["path"])
        partition = self._partitions.of(exchange)
        if match is None or partition is None:
            await self._pass(exchange, scope, receive, send, cache_status.BYPASS)
            return
        request = self._reader.read(partition, exchange.scheme, scope, exchange.mount, exchange.told_by_proxy)
        if request.bypass:
            await self._pass(exchange, scope, receive, send, cache_status.BYPASS, request.bypass)
            return
        hit = self.find(request, scope)
        if hit is not None and not hit.revalidate:
            await send_hit(hit, exchange, send)
            return
        stored = self._store.select(request.key, request.fields)
        read = self._forwarded_read(exchange, scope, request, match, stored)
        if hit is not None:
            self._misses.refresh(exchange, scope, read)
            await send_hit(hit, exchange, send)
        elif request.directives.only_if_cached:  # RFC 9111 §5.2.1.7
            raise Fault(504, "The answer is not in the cache.", reason="only_if_cached")
        elif request.range is not None or scope["method"] == "HEAD":
            await self._read_less(exchange, scope, receive, send, read)
        else:
            self._fetch_collection(exchange, scope, request, match)
            await self._misses.serve(exchange, scope, receive, send, read)

    async def _read_less(
        self, exchange: Exchange, scope: Scope, receive: Receive, send: Send, read: Read
    ) -> None:
        """Pass on a request for a part, or for the head alone."""
        method, is_of_part = scope["method"], read.request.range is not None
        if read.stale is not None:
            send = self._withdrawals.watched(read, read.stale, len(read.stale.body), method, send)
        elif read.parts is not None and method == "HEAD":
            send = self._withdrawals.watched(read, read.parts.head, read.parts.length, method, send)
        note_pass(exchange, cache_status.forwarded(self._name, read.reason))
        app = self.app
        if is_of_part and method == "GET":
            app = partial(pass_on, self._storage, self.app, read)
        if read.stale is not None:
            fallback = Fallback(app, partial(self._instead_of_error, read, method))
            await fallback.pass_on(exchange, scope, receive, send)
        else:
            await app(scope, receive, send)

    def _instead_of_error(self, read: Read, method: str, status: int) -> Hit | None:
        """Return the stale answer that ``read`` gets in place of an error, if it may."""
        now = self._monotonic()
        if not may_replace_error(read, now) or read.stale is None:
            return None
        hit = answer(read.stale, read.request, method, now, self._name)
        return hit.told_as("stale", cache_status.forwarded(self._name, read.reason, status=status))

    def _fetch_collection(
        self, exchange: Exchange, scope: Scope, request: CacheRequest, match: Match[CacheRoute]
    ) -> None:
        """Fetch the collection in the background, where several of its items are asked for."""
        beside = self._collections.to_fetch(request, match, scope)
        collection = self._routes.match(beside["path"]) if beside is not None else None
        if beside is not None and collection is not None:
            mount, told = exchange.mount, exchange.told_by_proxy
            key = self._reader.read(request.key[0], exchange.scheme, beside, mount, told).key
            asked = replace(request, key=key)
            stored = self._store.select(asked.key, asked.fields)
            read = self._forwarded_read(exchange, beside, asked, collection, stored)
            self._misses.refresh(exchange, beside, read)

    def _forwarded_read(
        self,
        exchange: Exchange,
        scope: Scope,
        request: CacheRequest,
        match: Match[CacheRoute],
        stored: Stored | None,
    ) -> Read:
        now = self._monotonic()
        project_id = exchange.identity.project_id if exchange.identity and not self._shared else None
        parts = self._store.part(request.key, request.fields) if stored is None else None
        if stored is not None:
            verdict = reuse.assess(stored.terms, stored.age(now), request.directives)
            reason = verdict.reason if isinstance(verdict, MustValidate) else cache_status.STALE
        elif parts is not None:
            reason = cache_status.PARTIAL
        else:
            reason = cache_status.VARY_MISS if request.key in self._store else cache_status.URI_MISS
        asked = Asked(
            lines=scope["headers"],
            directives=request.directives,
            credentials=self._shared and has_unchecked_credentials(request),
            cookie=self._shared and b"cookie" in request.fields,
            tags=self._routes.read_tags(scope["path"], project_id),
        )
        return Read(
            request=request,
            route=match.value,
            asked=asked,
            reason=reason,
            stale=stored,
            trusted=stored is not None and self._trust.covers(stored.asked_at, now),
            parts=parts,
        )

    async def _write(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        note_pass(exchange, cache_status.forwarded(self._name, cache_status.METHOD))
        tags = self._routes.written_tags(scope["path"])
        if tags:
            await self._write_through.pass_on(self.app, tags, scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _pass(
        self, exchange: Exchange, scope: Scope, receive: Receive, send: Send, reason: str, detail: str = ""
    ) -> None:
        note_pass(exchange, cache_status.forwarded(self._name, reason, detail=detail))
        await self.app(scope, receive, send)
