"""Misses: reads that memory cannot answer, fetched together and read by all who wait."""

import asyncio
import itertools
from collections.abc import Hashable
from dataclasses import replace

from cachetools import TTLCache
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from metaproxy.cache.answering import answer
from metaproxy.cache.deliveries import Delivery, Read, may_replace_error, note_pass, send_hit, unsent
from metaproxy.cache.fetch import Fetch, Fetcher
from metaproxy.cache.flights import Flight, Flights
from metaproxy.cache.requests import CacheRequest
from metaproxy.cache.stored import Stored
from metaproxy.cache.trust import Trust
from metaproxy.clock import Clock
from metaproxy.exchange import ClientDisconnected, Exchange
from metaproxy.forward.client import Client
from metaproxy.forward.heads import BODILESS
from metaproxy.protocol import headers
from metaproxy.protocol.caching import cache_status, directives, reuse, storing
from metaproxy.protocol.caching.directives import NOTHING_ASKED
from metaproxy.protocol.faults import Fault
from metaproxy.tasks import TaskSet

NOT_SHARED_SECONDS = 10.0
"""How long after an answer that could not be shared reads of its key no longer wait for each other."""

NOT_SHARED_KEYS = 16384

MAX_FLIGHTS_FOR_REFRESH = 256
"""With so many requests under way, stale answers are not refreshed in the background as well."""


class Misses:
    """Serves reads through flights.

    Args:
        name: our name in Cache-Status.
    """

    def __init__(
        self, *, name: str, fetcher: Fetcher, flights: Flights, trust: Trust, monotonic: Clock
    ) -> None:
        self._name = name
        self._fetcher = fetcher
        self._flights = flights
        self._trust = trust
        self._monotonic = monotonic
        self._watches = TaskSet()
        # Hashes, because keys have no bound in bytes. After a collision a read flies alone: it loses nothing.
        self._not_shared: TTLCache[int, None] = TTLCache(NOT_SHARED_KEYS, NOT_SHARED_SECONDS, timer=monotonic)

    async def close(self) -> None:
        """Watch for no client any more."""
        await self._watches.cancel()

    async def serve(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send, read: Read) -> None:
        """Answer ``read``: with the answer of a flight under way, or of one of its own.

        Raises ClientDisconnected as soon as the client hangs up. The flight goes on.
        """
        with Client(receive, has_body=False, tasks=self._watches) as client:
            await self._serve(exchange, scope, _last_seen_by(client, send), read)

    async def _serve(self, exchange: Exchange, scope: Scope, send: Send, read: Read) -> None:
        flight_key: Hashable = read.request.key
        # Twice a read may join others; after that it flies alone, so it comes to an end.
        for attempt in itertools.count(1):
            joined = self._flights.find(flight_key) if attempt <= 2 and self._may_join(read) else None
            flight = joined or self._fly(exchange, scope, read, flight_key)
            delivery = Delivery(exchange, send, read, flight, self._monotonic(), leads=joined is None)
            flight.enter(delivery)
            if await self._served(delivery):
                return
            names = (name for name, _ in flight.vary)
            flight_key = read.request.key, reuse.vary_values(names, tuple(read.request.fields.items()))

    def may_lead(self, request: CacheRequest) -> bool:
        """Say whether nothing else than the next application can have the answer."""
        return not self._fetcher.asks_second_level and self._flights.find(request.key) is None

    def lead(self, exchange: Exchange, scope: Scope, read: Read) -> "Led":
        """Begin a flight for a read that ``may_lead`` and validates nothing; the caller flies it."""
        fetch = self._fetcher.begin(exchange, scope, read, read.request.key)
        delivery = Delivery(exchange, unsent, read, fetch.flight, self._monotonic(), leads=True)
        fetch.flight.enter(delivery)
        return Led(self, self._fetcher, fetch, delivery)

    async def go_on(self, delivery: Delivery, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a read whose flight has begun."""
        with Client(receive, has_body=False, tasks=self._watches) as client:
            delivery.send = _last_seen_by(client, send)
            if not await self._served(delivery):
                await self._serve(delivery.exchange, scope, delivery.send, delivery.read)

    def refresh(self, exchange: Exchange, scope: Scope, read: Read) -> None:
        """Validate a stale answer in the background, unless that is under way or enough others are.

        That is the cache's own request: what the client has asked of caches is no part of it.
        """
        if len(self._flights) < MAX_FLIGHTS_FOR_REFRESH and self._flights.find(read.request.key) is None:
            lines = [field for field in read.asked.lines if field[0] not in (b"cache-control", b"pragma")]
            asked = replace(read.asked, lines=lines, directives=NOTHING_ASKED)
            self._fly(exchange, scope, replace(read, asked=asked), read.request.key)

    def _may_join(self, read: Read) -> bool:
        now = self._monotonic()
        # A flight under way began before a request that wants news, so it may bring what was there before.
        asked = read.request.directives
        wants_news = read.wants_news or asked.no_cache or asked.max_age == 0
        wants_its_own = wants_news or hash(read.request.key) in self._not_shared
        # Out of touch with the other replicas, a flight may have overtaken a write unknown here.
        return not wants_its_own and self._trust.covers(now, now)

    def _fly(self, exchange: Exchange, scope: Scope, read: Read, flight_key: Hashable) -> Flight:
        return self._fetcher.start(exchange, scope, read, flight_key)

    async def _served(self, delivery: Delivery) -> bool:
        try:
            return await self._deliver(delivery)
        finally:
            delivery.flight.leave(delivery)

    async def _deliver(self, delivery: Delivery) -> bool:
        """Send the flight's answer; False where this read must fly again."""
        flight, read = delivery.flight, delivery.read
        try:
            await flight.head(delivery.send if delivery.leads else None)
        except asyncio.CancelledError:
            delivery.note_wait(self._monotonic())
            raise
        except Exception as error:
            is_refusal = isinstance(error, Fault) and error.status not in reuse.FAILURES
            if not is_refusal and await self._sent_instead_of_error(delivery, 0):
                return True
            note_pass(delivery.exchange, self._status(delivery, 0))
            delivery.take_over_exchange(self._monotonic())
            raise
        if flight.status in reuse.FAILURES and await self._sent_instead_of_error(delivery, flight.status):
            return True
        self._note_sharing(delivery)
        delivery.take_over_exchange(self._monotonic())
        if not delivery.leads and not (flight.shared and reuse.selects(flight.vary, read.request.fields)):
            return False
        if flight.from_second_level:
            await self._send_second_level(delivery)
            return True
        if flight.status == 304 and (flight.stored is not None or read.stale is not None):
            return await self._confirmed(delivery)
        if flight.status == 304:
            # It answers no condition that was sent, so it says nothing to the reader (RFC 9110 §15.4.5).
            raise Fault(502, "The upstream service sent no valid answer.", reason="upstream_invalid")
        return await self._passed_on(delivery)

    async def _confirmed(self, delivery: Delivery) -> bool:
        """A 304 came: send what it confirms, or fly again without asking for a 304."""
        stored = delivery.flight.stored
        if stored is None:
            delivery.read.stale = None
            return False
        await self._send_stored(delivery, stored, "revalidated", 304)
        return True

    async def _sent_instead_of_error(self, delivery: Delivery, status: int) -> bool:
        """Send the stale answer in place of an error, where that is allowed (RFC 5861 §4)."""
        read = delivery.read
        if read.stale is None or not may_replace_error(read, self._monotonic()):
            return False
        delivery.take_over_exchange(self._monotonic())
        delivery.flight.ignore_body(delivery)
        await self._send_stored(delivery, read.stale, "stale", status)
        return True

    async def _passed_on(self, delivery: Delivery) -> bool:
        """Send the answer as it comes; False if this read has been cut off before it has begun."""
        flight, read = delivery.flight, delivery.read
        if read.request.conditional and flight.kept:
            await flight.landed()
            if flight.stored is not None:
                await self._send_stored(delivery, flight.stored, delivery.outcome, flight.status)
                return True
        if not flight.serves(delivery):
            return False
        start = self.head(delivery, headers.end_to_end(flight.fields))
        await delivery.send({"type": "http.response.start", "status": flight.status, "headers": start})
        # A client may leave as soon as it has the last octet: its answer is complete.
        if left := _length(flight.status, start):
            try:
                async for chunk in flight.chunks(delivery):
                    left -= len(chunk)
                    await delivery.send({"type": "http.response.body", "body": chunk, "more_body": left != 0})
                    if not left:
                        return True
            finally:
                self._note_sharing(delivery)
        await delivery.send({"type": "http.response.body", "body": b"", "more_body": False})
        return True

    def head(self, delivery: Delivery, fields: list[headers.Header]) -> list[headers.Header]:
        """Return the end-to-end ``fields`` of the flight's answer as this read gets them."""
        delivery.exchange.outcome = delivery.outcome
        delivery.exchange.cache_status = status = self._status(delivery, 0)
        if not delivery.leads:
            fields = _for_another(fields)
        return [*fields, (b"cache-status", status.encode("ascii"))]

    def take_lead(self, delivery: Delivery) -> None:
        """Let the read that its flight was begun for know what came of it."""
        self._note_sharing(delivery)
        delivery.take_over_exchange(self._monotonic())

    def _note_sharing(self, delivery: Delivery) -> None:
        """Let reads of a key whose answer could not be shared fly alone for a while."""
        if not delivery.flight.shared or delivery.flight.outgrown:
            self._not_shared[hash(delivery.read.request.key)] = None

    async def _send_second_level(self, delivery: Delivery) -> None:
        stored, now = delivery.flight.stored, self._monotonic()
        if stored is None:
            raise ClientDisconnected
        hit = answer(stored, delivery.read.request, "GET", now, self._name)
        told = cache_status.hit(self._name, stored.terms.lifetime - stored.age(now), "second-level")
        await send_hit(hit.told_as("hit", told), delivery.exchange, delivery.send)

    async def _send_stored(self, delivery: Delivery, stored: Stored, outcome: str, status: int) -> None:
        hit = answer(stored, delivery.read.request, "GET", self._monotonic(), self._name)
        await send_hit(hit.told_as(outcome, self._status(delivery, status)), delivery.exchange, delivery.send)

    def _status(self, delivery: Delivery, status: int) -> str:
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


class Led:
    """A read that leads a flight, from its beginning on. Its answer comes whole, or else a task goes on."""

    def __init__(self, misses: Misses, fetcher: Fetcher, fetch: Fetch, delivery: Delivery) -> None:
        self._misses = misses
        self._fetcher = fetcher
        self._fetch = fetch
        self._delivery = delivery
        self.exchange, self.scope = fetch.flight.exchange, fetch.scope
        """The flight's own Exchange, and its request."""

    def landed(self, status: int, fields: list[headers.Header], body: bytes) -> list[headers.Header]:
        """Store what may be stored of the whole answer; return its end-to-end fields for the read."""
        self._fetcher.land(self._fetch, status, fields, body)
        self._misses.take_lead(self._delivery)
        told = self._misses.head(self._delivery, fields)
        self.leave()
        return told

    def fly(self, app: ASGIApp) -> None:
        """Let a task go on: ``app`` answers the flight's request."""
        self._fetcher.fly(self._fetch, app)

    def leave(self) -> None:
        """Nobody waits for the answer to the read."""
        self._fetch.flight.leave(self._delivery)

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the read with what the task fetches; an ASGI application."""
        await self._misses.go_on(self._delivery, scope, receive, send)


def _last_seen_by(client: Client, send: Send) -> Send:
    """Return ``send``; with the last message, ``client`` may leave."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            client.dismiss()
        await send(message)

    return sending


def _length(status: int, fields: list[headers.Header]) -> int:
    """Return the number of octets of an answer's body; -1 if its head does not say it."""
    if status in BODILESS:
        return 0
    length = headers.get(fields, b"content-length")
    return int(length) if length is not None and length.isdigit() else -1


def _for_another(fields: list[headers.Header]) -> list[headers.Header]:
    """The fields of an answer for those whose request it was not, without those that are meant for one."""
    kept = storing.stored_fields(fields, directives.of_response(fields))
    kept += [field for field in fields if field[0] in (b"content-length", b"age")]
    return kept
