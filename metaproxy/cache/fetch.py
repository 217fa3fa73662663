"""Fetching: a flight's request to the next application, and storing what may be stored of its answer."""

import asyncio
from collections.abc import Hashable
from dataclasses import dataclass, replace

from starlette.types import ASGIApp, Message, Scope

from metaproxy.cache.admission import Admission, Admitted, Asked
from metaproxy.cache.flights import Flight, Flights
from metaproxy.cache.memory import Key, MemoryStore
from metaproxy.cache.routes import CacheRoute
from metaproxy.cache.stored import Stored
from metaproxy.cache.writes import Writes
from metaproxy.clock import Clock
from metaproxy.exchange import SCOPE_KEY, Exchange
from metaproxy.protocol import headers
from metaproxy.protocol.caching import validation
from metaproxy.protocol.caching.freshness import Times
from metaproxy.tasks import TaskSet


@dataclass(slots=True, eq=False, kw_only=True)
class Wanted:
    """What a flight is to fetch."""

    key: Key
    flight_key: Hashable
    route: CacheRoute
    asked: Asked
    stale: Stored | None = None
    """The stored answer to validate."""


class Fetcher:
    """Runs flights through ``app`` and stores what may be stored."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        admission: Admission,
        store: MemoryStore,
        flights: Flights,
        writes: Writes,
        monotonic: Clock,
        wall: Clock,
    ) -> None:
        self._app = app
        self._admission = admission
        self._store = store
        self._flights = flights
        self._writes = writes
        self._monotonic = monotonic
        self._wall = wall
        self._tasks = TaskSet()

    def start(self, exchange: Exchange, scope: Scope, wanted: Wanted) -> Flight:
        """Send the request upstream in a task of its own, and return its flight."""
        own_exchange = replace(exchange, response_headers=[], waits={})
        answer = _Answer(self._admission, wanted, self._monotonic, self._wall)
        flight = Flight(
            own_exchange,
            wanted.asked.tags,
            max_kept_bytes=self._store.max_entry_bytes,
            on_head=answer.on_head,
        )
        flight.doomed = self._writes.concern(wanted.asked.tags)
        self._flights.add(wanted.flight_key, flight)
        run = self._run(flight, _scope_of_flight(scope, own_exchange, wanted), wanted, answer)
        flight.run_by(self._tasks.start(run, name="cache flight"))
        return flight

    async def close(self) -> None:
        """Cancel what is under way."""
        await self._tasks.cancel()

    async def _run(self, flight: Flight, scope: Scope, wanted: Wanted, answer: "_Answer") -> None:
        error: BaseException | None = None
        try:
            await self._app(scope, _Request(), flight.send)
        except BaseException as raised:
            error = raised
            if not isinstance(raised, Exception):
                raise
        finally:
            self._flights.remove(wanted.flight_key, flight)
            stored = answer.complete(flight) if error is None else None
            if stored is not None and not flight.doomed:
                self._store.put(wanted.key, stored)
            flight.stored = stored
            flight.land(error)


class _Answer:
    """Judges one flight's answer: its head when it is there, the whole at the end."""

    def __init__(self, admission: Admission, wanted: Wanted, monotonic: Clock, wall: Clock) -> None:
        self._admission = admission
        self._wanted = wanted
        self._monotonic = monotonic
        self._wall = wall
        self._requested = wall()
        self._received = 0.0
        self._admitted: Admitted | None = None
        self._renewed: Stored | None = None

    def on_head(self, flight: Flight) -> None:
        """Say what may become of an answer with this head."""
        self._received = self._monotonic()
        times = Times(self._requested, self._wall())
        wanted = self._wanted
        if flight.status == 304 and wanted.stale is not None:
            self._renewed = self._admission.renewed(
                wanted.stale, wanted.asked, wanted.route, flight.fields, times, self._received
            )
            flight.stored = self._renewed
            flight.shared = flight.kept = self._renewed is not None
            return
        judged = self._admission.judge(wanted.asked, wanted.route, flight.status, flight.fields, times)
        if isinstance(judged, Admitted):
            self._admitted = judged
            flight.kept, flight.shared, flight.vary = True, judged.shareable, judged.vary
            flight.ttl = judged.terms.lifetime - judged.age

    def complete(self, flight: Flight) -> Stored | None:
        """Return what may be stored of the answer, now that it is whole."""
        if self._renewed is not None:
            return self._renewed
        body = flight.body
        if self._admitted is None or body is None:
            return None
        if self._admitted.content_length not in (None, len(body)):
            return None  # RFC 9111 §3.3: an incomplete answer
        return self._admission.stored(self._admitted, body, self._wanted.asked.tags, self._received)


class _Request:
    """The ``receive`` of a flight: no body, and a client that never hangs up."""

    def __init__(self) -> None:
        self._sent = False

    async def __call__(self) -> Message:
        if not self._sent:
            self._sent = True
            return {"type": "http.request", "body": b"", "more_body": False}
        forever: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        return await forever


def _scope_of_flight(scope: Scope, exchange: Exchange, wanted: Wanted) -> Scope:
    """The request without the client's conditions, which the stored answer's take the place of."""
    lines: list[headers.Header] = validation.without_conditions(scope["headers"])
    if wanted.stale is not None:
        lines += validation.conditions(wanted.stale.fields)
    return {**scope, "headers": lines, SCOPE_KEY: exchange}
