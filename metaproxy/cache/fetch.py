"""Fetching: a flight's request to the next application, and storing what may be stored of its answer."""

import asyncio
from collections.abc import Hashable

from starlette.types import ASGIApp, Scope

from metaproxy.cache.admission import Admitted
from metaproxy.cache.deliveries import NoBody, Read
from metaproxy.cache.flights import Flight
from metaproxy.cache.partial import Completion
from metaproxy.cache.requests import combined
from metaproxy.cache.second_level import SecondLevel, SharedAnswer
from metaproxy.cache.storage import Storage
from metaproxy.cache.stored import Stored
from metaproxy.exchange import SCOPE_KEY, ClientDisconnected, Exchange
from metaproxy.protocol import headers
from metaproxy.protocol.caching import reuse, validation
from metaproxy.protocol.caching.freshness import Times
from metaproxy.protocol.caching.reuse import Fresh
from metaproxy.protocol.caching.superseding import is_final
from metaproxy.tasks import TaskSet


class Fetcher:
    """Runs flights through ``app`` and stores what may be stored.

    Args:
        app: the next application.
        storage: judges and stores answers, and holds the flights under way.
        second_level: asked before ``app``, and told of what is stored.
    """

    def __init__(self, app: ASGIApp, storage: Storage, second_level: SecondLevel | None) -> None:
        self.app = app
        self._storage = storage
        self._second_level = second_level
        self._tasks = TaskSet()
        self._is_closed = False

    @property
    def asks_second_level(self) -> bool:
        """True if other replicas' answers are looked at before ``app`` is asked."""
        return self._second_level is not None

    def start(self, exchange: Exchange, scope: Scope, read: Read, flight_key: Hashable) -> Flight:
        """Send the request upstream in a task of its own, and return its flight."""
        fetch = self.begin(exchange, scope, read, flight_key)
        self.fly(fetch, self.app)
        return fetch.flight

    def begin(self, exchange: Exchange, scope: Scope, read: Read, flight_key: Hashable) -> "Fetch":
        """Begin a flight that ``fly`` or ``land`` must end."""
        return Fetch(self._storage, exchange, scope, read, flight_key)

    def fly(self, fetch: "Fetch", app: ASGIApp) -> None:
        """Let ``app`` answer, in a task."""
        if self._is_closed:
            fetch.end(ClientDisconnected())
        else:
            fetch.flight.run_by(self._tasks.start(self._run(fetch, app), name="cache flight"))

    def land(self, fetch: "Fetch", status: int, fields: list[headers.Header], body: bytes) -> None:
        """Take the whole answer, where no task was needed for it."""
        error: Exception | None = None
        try:
            fetch.flight.arrive(status, fields, body)
            fetch.keep()
        except Exception as raised:
            error = raised
            raise
        finally:
            fetch.end(error)

    async def close(self) -> None:
        """Cancel what is under way."""
        self._is_closed = True
        await self._tasks.cancel()
        await self._storage.withdrawals.close()

    async def _run(self, fetch: "Fetch", app: ASGIApp) -> None:
        error: Exception | None = None
        try:
            await self._fly(fetch, app)
        except asyncio.CancelledError:
            error = ClientDisconnected()
            raise
        except Exception as raised:  # noqa: BLE001 - every reader raises it again
            error = raised
        finally:
            fetch.end(error)

    async def _fly(self, fetch: "Fetch", app: ASGIApp) -> None:
        flight, read = fetch.flight, fetch.read
        shared = await self._ask_second_level(flight, read)
        if shared is not None and shared.stored is not None and self._is_usable(shared.stored, read):
            flight.take(shared.stored)
            if not flight.doomed:
                self._storage.store.put(read.request.key, shared.stored, combined(read.asked.lines))
            return
        if read.parts is not None and read.stale is None:
            app = Completion(app, read.parts)
        await app(fetch.scope, NoBody(), flight.send)
        stored = fetch.keep()
        if stored is not None and self._second_level is not None and shared is not None:
            put = self._second_level.put(read.request.key, stored, shared)
            self._tasks.start(put, name="cache second level")

    async def _ask_second_level(self, flight: Flight, read: Read) -> SharedAnswer | None:
        if self._second_level is None or flight.doomed or read.wants_news:
            return None
        begun = self._storage.monotonic()
        try:
            return await self._second_level.get(read.request.key, read.asked.tags)
        finally:
            flight.exchange.waited("store", self._storage.monotonic() - begun, begun)

    def _is_usable(self, stored: Stored, read: Read) -> bool:
        age = stored.age(self._storage.monotonic())
        fresh = isinstance(reuse.assess(stored.terms, age, read.asked.directives), Fresh)
        return fresh and reuse.selects(stored.vary, combined(read.asked.lines))


class Fetch:
    """A flight for ``read``, and the request that it sends. Judges the head of its answer, then the whole.

    Args:
        storage: judges and stores the answer, and holds the flight while it is under way.
        exchange, scope: the request that the flight is begun for.
        read: what it asks of the cache.
        flight_key: what others find the flight by.
    """

    # A Fetch is made for every miss. Defaults are on the class, so that they cost a miss nothing.
    _received = 0.0
    _admitted: Admitted | None = None
    _renewed: Stored | None = None

    def __init__(
        self, storage: Storage, exchange: Exchange, scope: Scope, read: Read, flight_key: Hashable
    ) -> None:
        asked = read.asked
        # RFC 9111 §4.1: what selects the answer later is what was sent for it.
        asked.lines = validation.without_conditions(asked.lines)
        self.read = read
        self._storage = storage
        self._flight_key = flight_key
        self._stale = read.stale
        self._requested = storage.wall()
        self._asked_at = storage.monotonic()
        self.flight = flight = Flight(
            exchange.for_flight(),
            asked.tags,
            max_kept_bytes=storage.store.max_entry_bytes,
            on_head=self._on_head,
        )
        flight.doomed = storage.is_overtaken(asked.tags, self._asked_at)
        storage.flights.add(flight_key, flight)
        self.scope = _scope_of_flight(scope, flight.exchange, read)

    def keep(self) -> Stored | None:
        """Store what may be stored of a complete answer; return it."""
        flight, store = self.flight, self._storage.store
        flight.stored = stored = self._complete()
        if stored is None or flight.doomed or not flight.kept:
            return None
        key = self.read.request.key
        replaced_by = combined(self.read.asked.lines) if key in store else None
        if store.put(key, stored, replaced_by):
            return stored
        flight.kept = False
        self._settle()
        return None

    def end(self, error: Exception | None) -> None:
        """End the flight; ``error`` is what the request ended with."""
        flight = self.flight
        self._storage.flights.remove(self._flight_key, flight)
        if flight.outgrown:
            self._settle()
        flight.land(error)

    def _on_head(self) -> None:
        self._judge()
        self._settle()

    def _judge(self) -> None:
        """Say what may become of an answer with this head."""
        storage, read, flight = self._storage, self.read, self.flight
        self._received = storage.monotonic()
        times = Times(self._requested, storage.wall())
        stale = self._stale
        if flight.status == 304 and stale is not None and validation.conditions(stale.fields):
            self._renew(stale, times)
            return
        judged = storage.admission.judge(read.asked, read.route, flight.status, flight.fields, times)
        if isinstance(judged, Admitted):
            self._admitted = judged
            fits = (judged.content_length or 0) <= flight.max_kept_bytes
            # Readers would share the pace of an answer that is too large to be kept: each flies alone.
            flight.kept, flight.shared, flight.vary = fits, fits and judged.shareable, judged.vary
            flight.ttl = judged.terms.lifetime - int(judged.age)

    def _settle(self) -> None:
        """Withdraw what the answer speaks of, if it is final and will not be stored."""
        flight, read = self.flight, self.read
        to_be_stored = flight.kept and not flight.doomed and not flight.outgrown
        if not to_be_stored and not flight.from_second_level and is_final(flight.status):
            self._storage.withdrawals.withdraw(
                read.request.key, read.route, read.asked, self._asked_at, shared=read.wants_news
            )

    def _complete(self) -> Stored | None:
        """Return what may be stored of the answer, now that it is whole."""
        if self._renewed is not None:
            return self._renewed
        body, admitted = self.flight.body, self._admitted
        if admitted is None or body is None:
            return None
        if admitted.content_length not in (None, len(body)):
            return None  # RFC 9111 §3.3: an incomplete answer
        return self._storage.admission.stored(
            admitted, body, self.read.asked.tags, self._asked_at, self._received
        )

    def _renew(self, stale: Stored, times: Times) -> None:
        flight, read = self.flight, self.read
        self._renewed = renewed = self._storage.admission.renewed(
            stale, read.asked, read.route, flight.fields, times, self._asked_at, self._received
        )
        if renewed is None:
            return
        flight.stored = renewed
        flight.vary = renewed.vary
        flight.kept = renewed.terms.lifetime >= 0
        flight.shared = flight.kept and not renewed.terms.always_validate
        flight.ttl = renewed.terms.lifetime - int(renewed.age(self._received))


def _scope_of_flight(scope: Scope, exchange: Exchange, read: Read) -> Scope:
    """The request for the whole, with the stored answer's conditions in place of the client's.

    It is always GET: an answer to HEAD is not the answer to GET (RFC 9111 §3, RFC 9110 §9.3.2).
    """
    lines = [*read.asked.lines]
    if read.stale is not None:
        lines += validation.conditions(read.stale.fields)
    return {**scope, "method": "GET", "headers": lines, SCOPE_KEY: exchange}
