"""Fetching: a flight's request to the next application, and storing what may be stored of its answer."""

import asyncio
from collections.abc import Hashable
from dataclasses import dataclass
from typing import NamedTuple

from starlette.types import ASGIApp, Scope

from metaproxy.cache.admission import Admitted, Asked
from metaproxy.cache.deliveries import NoBody
from metaproxy.cache.flights import Flight
from metaproxy.cache.incomplete import Incomplete
from metaproxy.cache.memory import Key
from metaproxy.cache.partial import Completion
from metaproxy.cache.requests import combined
from metaproxy.cache.second_level import SecondLevel, SharedAnswer
from metaproxy.cache.settings import CacheRoute
from metaproxy.cache.storage import Storage
from metaproxy.cache.stored import Stored
from metaproxy.exchange import SCOPE_KEY, ClientDisconnected, Exchange
from metaproxy.protocol import headers
from metaproxy.protocol.caching import reuse, validation
from metaproxy.protocol.caching.freshness import Times
from metaproxy.protocol.caching.reuse import Fresh
from metaproxy.protocol.caching.superseding import is_final
from metaproxy.tasks import TaskSet


@dataclass(slots=True, eq=False, kw_only=True)
class Wanted:
    """The subject of a flight."""

    key: Key
    flight_key: Hashable
    route: CacheRoute
    asked: Asked
    stale: Stored | None = None
    """The stored answer to validate."""
    parts: Incomplete | None = None
    """The stored parts to complete, if there is no whole answer."""
    second_level: bool = True
    """True if an answer that other replicas have stored will do."""


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

    def start(self, exchange: Exchange, scope: Scope, wanted: Wanted) -> Flight:
        """Send the request upstream in a task of its own, and return its flight."""
        fetch = self.begin(exchange, scope, wanted)
        self.fly(fetch, self.app)
        return fetch.flight

    def begin(self, exchange: Exchange, scope: Scope, wanted: Wanted) -> "Fetch":
        """Begin a flight that ``fly`` or ``land`` must end."""
        own_exchange = exchange.for_flight()
        asked = wanted.asked
        # RFC 9111 §4.1: what selects the answer later is what was sent for it.
        asked.lines = validation.without_conditions(asked.lines)
        storage = self._storage
        answer = _Answer(storage, wanted)

        def on_head(flight: Flight) -> None:
            answer.on_head(flight)
            self._settle(flight, wanted, answer)

        flight = Flight(
            own_exchange,
            asked.tags,
            max_kept_bytes=storage.store.max_entry_bytes,
            on_head=on_head,
        )
        flight.doomed = storage.is_overtaken(asked.tags, answer.asked_at)
        storage.flights.add(wanted.flight_key, flight)
        return Fetch(flight, _scope_of_flight(scope, own_exchange, wanted), wanted, answer)

    def fly(self, fetch: "Fetch", app: ASGIApp) -> None:
        """Let ``app`` answer, in a task."""
        if self._is_closed:
            self._end(fetch, ClientDisconnected())
        else:
            fetch.flight.run_by(self._tasks.start(self._run(fetch, app), name="cache flight"))

    def land(self, fetch: "Fetch", status: int, fields: list[headers.Header], body: bytes) -> None:
        """Take the whole answer, where no task was needed for it."""
        error: Exception | None = None
        try:
            fetch.flight.arrive(status, fields, body)
            self._keep(fetch)
        except Exception as raised:
            error = raised
            raise
        finally:
            self._end(fetch, error)

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
            self._end(fetch, error)

    def _end(self, fetch: "Fetch", error: Exception | None) -> None:
        flight = fetch.flight
        self._storage.flights.remove(fetch.wanted.flight_key, flight)
        if flight.outgrown:
            self._settle(flight, fetch.wanted, fetch.answer)
        flight.land(error)

    async def _fly(self, fetch: "Fetch", app: ASGIApp) -> None:
        flight, wanted = fetch.flight, fetch.wanted
        shared = await self._ask_second_level(flight, wanted)
        if shared is not None and shared.stored is not None and self._is_usable(shared.stored, wanted):
            flight.take(shared.stored)
            if not flight.doomed:
                self._storage.store.put(wanted.key, shared.stored, combined(wanted.asked.lines))
            return
        if wanted.parts is not None:
            app = Completion(app, wanted.parts)
        await app(fetch.scope, NoBody(), flight.send)
        stored = self._keep(fetch)
        if stored is not None and self._second_level is not None and shared is not None:
            put = self._second_level.put(wanted.key, stored, shared)
            self._tasks.start(put, name="cache second level")

    def _keep(self, fetch: "Fetch") -> Stored | None:
        """Store what may be stored of a complete answer; return it."""
        flight = fetch.flight
        flight.stored = stored = fetch.answer.complete(flight)
        if stored is None or flight.doomed or not flight.kept:
            return None
        key = fetch.wanted.key
        replaced_by = combined(fetch.wanted.asked.lines) if key in self._storage.store else None
        if self._storage.store.put(key, stored, replaced_by):
            return stored
        flight.kept = False
        self._settle(flight, fetch.wanted, fetch.answer)
        return None

    def _settle(self, flight: Flight, wanted: Wanted, answer: "_Answer") -> None:
        """Withdraw what the answer speaks of, if it is final and will not be stored."""
        to_be_stored = flight.kept and not flight.doomed and not flight.outgrown
        if not to_be_stored and not flight.from_second_level and is_final(flight.status):
            forced = not wanted.second_level
            self._storage.withdrawals.withdraw(
                wanted.key, wanted.route, wanted.asked, answer.asked_at, shared=forced
            )

    async def _ask_second_level(self, flight: Flight, wanted: Wanted) -> SharedAnswer | None:
        if self._second_level is None or flight.doomed or not wanted.second_level:
            return None
        begun = self._storage.monotonic()
        try:
            return await self._second_level.get(wanted.key, wanted.asked.tags)
        finally:
            flight.exchange.waited("store", self._storage.monotonic() - begun, begun)

    def _is_usable(self, stored: Stored, wanted: Wanted) -> bool:
        age = stored.age(self._storage.monotonic())
        fresh = isinstance(reuse.assess(stored.terms, age, wanted.asked.directives), Fresh)
        return fresh and reuse.selects(stored.vary, combined(wanted.asked.lines))


class Fetch(NamedTuple):
    """A flight with the request that it sends, what is wanted, and who judges the answer."""

    flight: Flight
    scope: Scope
    wanted: Wanted
    answer: "_Answer"


class _Answer:
    """Judges one flight's answer: its head when it is there, the whole at the end."""

    def __init__(self, storage: Storage, wanted: Wanted) -> None:
        self._admission = storage.admission
        self._wanted = wanted
        self._monotonic = storage.monotonic
        self._wall = storage.wall
        self._requested = storage.wall()
        self.asked_at = storage.monotonic()
        self._received = 0.0
        self._admitted: Admitted | None = None
        self._renewed: Stored | None = None

    def on_head(self, flight: Flight) -> None:
        """Say what may become of an answer with this head."""
        self._received = self._monotonic()
        times = Times(self._requested, self._wall())
        stale = self._wanted.stale
        if flight.status == 304 and stale is not None and validation.conditions(stale.fields):
            self._renew(stale, flight, times)
            return
        wanted = self._wanted
        judged = self._admission.judge(wanted.asked, wanted.route, flight.status, flight.fields, times)
        if isinstance(judged, Admitted):
            self._admitted = judged
            fits = (judged.content_length or 0) <= flight.max_kept_bytes
            # Readers would share the pace of an answer that is too large to be kept: each flies alone.
            flight.kept, flight.shared, flight.vary = fits, fits and judged.shareable, judged.vary
            flight.ttl = judged.terms.lifetime - int(judged.age)

    def complete(self, flight: Flight) -> Stored | None:
        """Return what may be stored of the answer, now that it is whole."""
        if self._renewed is not None:
            return self._renewed
        body = flight.body
        if self._admitted is None or body is None:
            return None
        if self._admitted.content_length not in (None, len(body)):
            return None  # RFC 9111 §3.3: an incomplete answer
        return self._admission.stored(
            self._admitted, body, self._wanted.asked.tags, self.asked_at, self._received
        )

    def _renew(self, stale: Stored, flight: Flight, times: Times) -> None:
        wanted = self._wanted
        self._renewed = renewed = self._admission.renewed(
            stale, wanted.asked, wanted.route, flight.fields, times, self.asked_at, self._received
        )
        if renewed is None:
            return
        flight.stored = renewed
        flight.vary = renewed.vary
        flight.kept = renewed.terms.lifetime >= 0
        flight.shared = flight.kept and not renewed.terms.always_validate
        flight.ttl = renewed.terms.lifetime - int(renewed.age(self._received))


def _scope_of_flight(scope: Scope, exchange: Exchange, wanted: Wanted) -> Scope:
    """The request for the whole, with the stored answer's conditions in place of the client's.

    It is always GET: an answer to HEAD is not the answer to GET (RFC 9111 §3, RFC 9110 §9.3.2).
    """
    lines = [*wanted.asked.lines]
    if wanted.stale is not None:
        lines += validation.conditions(wanted.stale.fields)
    return {**scope, "method": "GET", "headers": lines, SCOPE_KEY: exchange}
