"""Misses: reads that memory cannot answer, fetched together and read by all who wait."""

from collections.abc import Hashable
from dataclasses import dataclass

from cachetools import TTLCache
from starlette.types import Scope, Send

from metaproxy.cache.admission import Asked
from metaproxy.cache.answering import answer
from metaproxy.cache.fetch import Fetcher, Wanted
from metaproxy.cache.flights import Flight, Flights
from metaproxy.cache.memory import MemoryStore
from metaproxy.cache.requests import CacheRequest
from metaproxy.cache.routes import CacheRoute
from metaproxy.cache.stored import Hit, Stored
from metaproxy.clock import Clock
from metaproxy.exchange import ClientDisconnected, Exchange
from metaproxy.protocol import headers
from metaproxy.protocol.caching import cache_status, reuse, storing
from metaproxy.protocol.caching.directives import NOTHING_SAID

NOT_SHARED_SECONDS = 10.0
"""How long after an answer that could not be shared reads of its key no longer wait for each other."""

NOT_SHARED_KEYS = 16384


@dataclass(slots=True, eq=False, kw_only=True)
class Read:
    """A read that goes forward."""

    request: CacheRequest
    route: CacheRoute
    asked: Asked
    reason: str
    """RFC 9211's word for why it goes forward."""
    stale: Stored | None
    """What memory has, to be validated or to fall back on."""


class Misses:
    """Serves reads through flights.

    Args:
        name: our name in Cache-Status.
    """

    def __init__(
        self, *, name: str, fetcher: Fetcher, flights: Flights, store: MemoryStore, monotonic: Clock
    ) -> None:
        self._name = name
        self._fetcher = fetcher
        self._flights = flights
        self._store = store
        self._monotonic = monotonic
        self._not_shared: TTLCache[Hashable, None] = TTLCache(
            NOT_SHARED_KEYS, NOT_SHARED_SECONDS, timer=monotonic
        )

    async def serve(self, exchange: Exchange, scope: Scope, send: Send, read: Read) -> None:
        """Answer ``read``: with the answer of a flight under way, or of one of its own."""
        flight_key: Hashable = read.request.key
        attempt = 0
        while True:
            attempt += 1
            # Twice a read may join others; the third time it flies alone, so it ends.
            joined = self._flights.find(flight_key) if attempt < 3 and self._may_join(read) else None
            flight = joined or self._fly(exchange, scope, read, flight_key)
            reader = object()
            flight.enter(reader)
            try:
                if await self._deliver(_Delivery(exchange, send, read, flight, reader, joined is None)):
                    return
            finally:
                flight.leave(reader)
            flight_key = (
                read.request.key,
                reuse.vary_values((name for name, _ in flight.vary), tuple(read.request.fields.items())),
            )

    def refresh(self, exchange: Exchange, scope: Scope, read: Read) -> None:
        """Validate a stale answer in the background, unless that is under way."""
        if self._flights.find(read.request.key) is None:
            self._fly(exchange, scope, read, read.request.key)

    def _may_join(self, read: Read) -> bool:
        return read.reason != cache_status.REQUEST and read.request.key not in self._not_shared

    def _fly(self, exchange: Exchange, scope: Scope, read: Read, flight_key: Hashable) -> Flight:
        wanted = Wanted(
            key=read.request.key, flight_key=flight_key, route=read.route, asked=read.asked, stale=read.stale
        )
        return self._fetcher.start(exchange, scope, wanted)

    async def _deliver(self, delivery: "_Delivery") -> bool:
        """Send the flight's answer; False where this read must fly again."""
        flight, read = delivery.flight, delivery.read
        try:
            await flight.head()
        except Exception:
            if await self._instead_of_error(delivery, 0):
                return True
            raise
        if not flight.status:
            raise ClientDisconnected
        if flight.status >= 500 and await self._instead_of_error(delivery, flight.status):
            return True
        if delivery.leads:
            delivery.take_over_exchange()
            if not flight.shared:
                self._not_shared[read.request.key] = None
        if flight.status == 304 and read.stale is not None:
            return await self._confirmed(delivery)
        if not delivery.leads and not (flight.shared and reuse.selects(flight.vary, read.request.fields)):
            return False
        await self._pass_on(delivery)
        return True

    async def _confirmed(self, delivery: "_Delivery") -> bool:
        """A 304 came: send what it confirms, or fly again without asking for a 304."""
        stored = delivery.flight.stored
        if stored is None or not (delivery.leads or delivery.flight.shared):
            delivery.read.stale = None
            return False
        await self._send_stored(delivery, stored, "revalidated", 304)
        return True

    async def _instead_of_error(self, delivery: "_Delivery", status: int) -> bool:
        """Send the stale answer in place of an error, where that is allowed (RFC 5861 §4)."""
        read, now = delivery.read, self._monotonic()
        stale = read.stale
        if stale is None or not reuse.usable_on_error(stale.terms, stale.age(now), read.asked.directives):
            return False
        if delivery.leads:
            delivery.take_over_exchange()
        await self._send_stored(delivery, stale, "stale", status)
        return True

    async def _pass_on(self, delivery: "_Delivery") -> None:
        flight, read = delivery.flight, delivery.read
        if read.request.conditional and flight.kept:
            await flight.landed()
            if flight.stored is not None:
                await self._send_stored(delivery, flight.stored, delivery.outcome, flight.status)
                return
        delivery.exchange.outcome = delivery.outcome
        delivery.exchange.cache_status = status = self._status(delivery, 0)
        fields = headers.end_to_end(flight.fields)
        if not delivery.leads:
            fields = _for_another(fields)
        start = [*fields, (b"cache-status", status.encode("ascii"))]
        await delivery.send({"type": "http.response.start", "status": flight.status, "headers": start})
        async for chunk in flight.chunks(delivery.reader):
            await delivery.send({"type": "http.response.body", "body": chunk, "more_body": True})
        await delivery.send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_stored(self, delivery: "_Delivery", stored: Stored, outcome: str, status: int) -> None:
        hit = answer(stored, delivery.read.request, "GET", self._monotonic(), self._name)
        await send_hit(hit.told_as(outcome, self._status(delivery, status)), delivery.exchange, delivery.send)

    def _status(self, delivery: "_Delivery", status: int) -> str:
        flight = delivery.flight
        kept = flight.kept and not flight.doomed
        return cache_status.forwarded(
            self._name,
            delivery.read.reason,
            status=status,
            ttl=flight.ttl if kept else None,
            stored=kept and delivery.leads,
            collapsed=not delivery.leads,
        )


@dataclass(slots=True, eq=False)
class _Delivery:
    """One reader's share in a flight."""

    exchange: Exchange
    send: Send
    read: Read
    flight: Flight
    reader: object
    leads: bool
    """Whether the flight was started for this read."""

    @property
    def outcome(self) -> str:
        return "forwarded" if self.leads else "collapsed"

    def take_over_exchange(self) -> None:
        """Let the request's Exchange know what the flight's learned upstream."""
        flown = self.flight.exchange
        self.exchange.upstream = flown.upstream
        self.exchange.upstream_request_id = flown.upstream_request_id
        self.exchange.response_headers += flown.response_headers
        flown.response_headers = []
        for stage, seconds in flown.waits.items():
            self.exchange.waited(stage, seconds)


async def send_hit(hit: Hit, exchange: Exchange, send: Send) -> None:
    """Send an answer from memory, and note on the Exchange that it was one."""
    exchange.outcome = hit.outcome
    exchange.cache_status = hit.cache_status
    await send({"type": "http.response.start", "status": hit.status, "headers": hit.headers})
    await send({"type": "http.response.body", "body": hit.body, "more_body": False})


def _for_another(fields: list[headers.Header]) -> list[headers.Header]:
    """The fields of an answer for those whose request it was not."""
    kept = storing.stored_fields(fields, NOTHING_SAID)
    kept += [field for field in fields if field[0] in (b"content-length", b"age")]
    return kept
