"""Flights: one request upstream whose answer is read by all who asked for it meanwhile.

A flight is nobody's: it runs as a task of its own, so a client that hangs up takes its own answer with
it and nothing else. Its answer is kept until the last reader has it as long as it may be shared; one
that turns out private belongs to the reader who led, and the others go their own way.

An answer that outgrows what is kept flows at the pace of its fastest reader. A reader that falls behind by
more than a window is cut off: otherwise one that reads slowly, or not at all, would decide how long all wait.

A flight is doomed by a purge that overtakes it: it may have read what was there before. Its readers
had asked before the purge, so they get their answer; nobody joins it, and it is not stored.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Hashable, Sequence
from typing import Protocol

from starlette.types import Message, Send

from metaproxy.cache.stored import Stored
from metaproxy.exchange import ClientDisconnected, Exchange
from metaproxy.protocol import headers, interim
from metaproxy.protocol.caching.reuse import VaryValues
from metaproxy.protocol.faults import Fault

OnHead = Callable[[], None]


def _nobody() -> None:
    """Stands for ``on_head`` once the flight has ended: its owner holds the flight, too."""


WINDOW_BYTES = 2**20
"""How far a reader may fall behind the fastest one, if less than that is kept of a body."""


class _Place:
    """How much of the body a reader has."""

    __slots__ = ("chunks", "octets")

    def __init__(self) -> None:
        self.chunks = self.octets = 0


class Flight:
    """One request's answer on its way in. ``send`` is what the application gets; readers read beside.

    Args:
        exchange: the request's own Exchange, where the next stages write what they know.
        tags: what dooms it.
        max_kept_bytes: how much of a body is kept for readers who come later.
        on_head: called when the head is there; sets ``shared``, ``kept`` and ``vary``.
    """

    # A Flight is made for every miss. Defaults are on the class, so that they cost a miss nothing.
    status = 0
    shared = False
    """True if all who wait may have the answer; meaningful once ``status`` is known."""
    kept = False
    """True if the answer will be stored, as far as its head tells."""
    vary: VaryValues = ()
    ttl = 0.0
    """How long a kept answer stays fresh from its arrival on, in seconds: its lifetime without its Age."""
    doomed = False
    complete = False
    error: BaseException | None = None
    stored: Stored | None = None
    """The entry that was stored of it, or that it confirmed."""
    from_second_level = False
    _dropped = 0
    _octets = 0
    _sender_waiting: "asyncio.Future[None] | None" = None
    _task: "asyncio.Task[None] | None" = None

    def __init__(
        self, exchange: Exchange, tags: Sequence[str], *, max_kept_bytes: int, on_head: OnHead
    ) -> None:
        self.exchange = exchange
        self.tags = tuple(tags)
        self.fields: list[headers.Header] = []
        self.max_kept_bytes = max_kept_bytes
        self._on_head = on_head
        self._interim: list[Message] = []
        self._chunks: list[bytes] = []
        self._places: dict[object, _Place] = {}
        self._readers_waiting: list[asyncio.Future[None]] = []

    @property
    def joinable(self) -> bool:
        """True if somebody who comes now may still read the answer."""
        return not self.doomed and not self.outgrown and (not self.status or self.shared)

    @property
    def outgrown(self) -> bool:
        """True if more of the body has come than is kept."""
        return self._octets > self.max_kept_bytes

    @property
    def body(self) -> bytes | None:
        """The whole body, once complete; None if it was not kept."""
        return None if self._dropped or self.outgrown else b"".join(self._chunks)

    def run_by(self, task: "asyncio.Task[None]") -> None:
        """Take note of the task that runs the request."""
        self._task = task

    def take(self, stored: Stored) -> None:
        """Have the answer without a request: other replicas have stored it."""
        self.stored, self.from_second_level = stored, True
        self.shared = self.kept = True
        self.vary, self.status = stored.vary, stored.status
        self._wake_readers()

    def arrive(self, status: int, fields: list[headers.Header], body: bytes) -> None:
        """Take the whole answer, in one piece."""
        self.fields, self.status = fields, status
        self._on_head()
        if body:
            self._chunks.append(body)
            self._octets += len(body)

    def land(self, error: BaseException | None = None) -> None:
        """End the flight; ``error`` is what the request ended with."""
        self.error = error
        self.complete = True
        self._on_head = _nobody
        self._wake_readers()

    async def send(self, message: Message) -> None:
        """The ``send`` that the application gets; raises ClientDisconnected where nobody wants the answer."""
        if message["type"] == "http.response.start":
            self.fields, self.status = list(message["headers"]), message["status"]
            self._on_head()
            self._wake_readers()
        elif message["type"] == "http.response.body" and (chunk := message.get("body", b"")):
            await self._append(chunk)
        elif message["type"] == interim.MESSAGE:
            self._interim.append(message)
            self._wake_readers()

    async def head(self, send_interim: Send | None = None) -> None:
        """Wait until ``status`` is known; raises what the request ended with where there is none.

        Interim responses are passed to ``send_interim``, which one reader alone may give: the one who leads.
        Others have joined a request that is not theirs, and what it is told on the way may be for it alone.
        """
        while True:
            while send_interim is not None and self._interim:
                await send_interim(self._interim.pop(0))
            if self.status or self.complete:
                break
            await self._news()
        if not self.status:
            # An application that ended without an answer: there is nothing to pass on.
            raise (self.error or ClientDisconnected()).with_traceback(None)

    async def landed(self) -> None:
        """Wait until the answer is complete, or has outgrown what is kept."""
        while not self.complete and not self.outgrown:
            await self._news()

    def enter(self, reader: object) -> None:
        """Count ``reader`` among those who read from the start."""
        self._places[reader] = _Place()

    def serves(self, reader: object) -> bool:
        """Say whether ``reader`` can still get the whole body."""
        return reader in self._places

    def ignore_body(self, reader: object) -> None:
        """Let ``reader`` have no use for the body: it neither waits for it nor delays it."""
        place = self._places.get(reader)
        if place is not None:
            place.chunks = place.octets = sys.maxsize
            self._wake_sender()

    def leave(self, reader: object) -> None:
        """Take ``reader`` out; a flight whose answer nobody keeps ends with its last reader."""
        self._places.pop(reader, None)
        self._wake_sender()
        abandoned = not self._places and not self.complete and self.status and not self._is_kept()
        if abandoned and self._task is not None:
            self._task.cancel()

    async def chunks(self, reader: object) -> AsyncIterator[bytes]:
        """Yield the body piece by piece; raises what the request ended with, if it broke off."""
        while True:
            place = self._places.get(reader)
            if place is None:
                raise Fault(503, "The answer was read too slowly.", reason="read_too_slowly")
            if (position := place.chunks - self._dropped) < len(self._chunks):
                chunk = self._chunks[position]
                yield chunk
                place.chunks += 1
                place.octets += len(chunk)
                self._wake_sender()
            elif self.complete:
                break
            else:
                await self._news()
        if self.error is not None:
            raise self.error.with_traceback(None)

    def _is_kept(self) -> bool:
        return (self.kept or self.shared) and not self.outgrown

    async def _append(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self._octets += len(chunk)
        self._wake_readers()
        if self._is_kept():
            return
        if not self._places:
            raise ClientDisconnected
        end = self._dropped + len(self._chunks)
        while self._places and max(place.chunks for place in self._places.values()) < end:
            self._sender_waiting = asyncio.get_running_loop().create_future()
            await self._sender_waiting
        self._cut_off()
        self._drop(min((place.chunks for place in self._places.values()), default=end))

    def _cut_off(self) -> None:
        """Take out the readers that have fallen behind the fastest by more than the window."""
        least = self._octets - max(self.max_kept_bytes, WINDOW_BYTES)
        for reader in [reader for reader, place in self._places.items() if place.octets < least]:
            del self._places[reader]

    def _drop(self, end: int) -> None:
        """Let go of the chunks before ``end``, which all readers have."""
        count = min(end - self._dropped, len(self._chunks))
        del self._chunks[:count]
        self._dropped += count

    async def _news(self) -> None:
        future = asyncio.get_running_loop().create_future()
        self._readers_waiting.append(future)
        await future

    def _wake_readers(self) -> None:
        if not self._readers_waiting:
            return
        waiting, self._readers_waiting = self._readers_waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def _wake_sender(self) -> None:
        if self._sender_waiting is not None and not self._sender_waiting.done():
            self._sender_waiting.set_result(None)


class Doomable(Protocol):
    """An answer that must not be stored once a purge has overtaken it."""

    tags: tuple[str, ...]
    doomed: bool


class Flights:
    """The flights under way, by what they fetch and by what dooms them."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, Flight] = {}
        self._tagged: dict[str, set[Doomable]] = {}

    def __len__(self) -> int:
        return len(self._flights)

    def find(self, key: Hashable) -> Flight | None:
        """Return the flight that fetches ``key`` and may be joined, or None."""
        flight = self._flights.get(key)
        return flight if flight is not None and flight.joinable else None

    def add(self, key: Hashable, flight: Flight) -> None:
        """Let others find ``flight``."""
        self._flights[key] = flight
        self.watch(flight)

    def remove(self, key: Hashable, flight: Flight) -> None:
        """Take out a flight that has ended."""
        if self._flights.get(key) is flight:
            del self._flights[key]
        self.unwatch(flight)

    def watch(self, answer: Doomable) -> None:
        """Let purges doom ``answer``, which nobody can join."""
        for tag in answer.tags:
            tagged = self._tagged.get(tag)
            if tagged is None:
                tagged = self._tagged[tag] = set()
            tagged.add(answer)

    def unwatch(self, answer: Doomable) -> None:
        """Let purges doom ``answer`` no more."""
        for tag in answer.tags:
            tagged = self._tagged.get(tag)
            if tagged is not None:
                tagged.discard(answer)
                if not tagged:
                    del self._tagged[tag]

    def doom(self, tag: str) -> None:
        """Doom every flight with ``tag``."""
        for flight in self._tagged.get(tag, ()):
            flight.doomed = True

    def doom_all(self) -> None:
        """Doom every flight."""
        for flights in self._tagged.values():
            for flight in flights:
                flight.doomed = True
