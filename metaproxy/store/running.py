"""The requests that run now, counted over all processes that share a store.

Each request of a consumer has a slot in the store. A slot ends when its request does, or ``LEASE_SECONDS``
after its process has renewed it for the last time. The process renews all its slots every
``BEAT_SECONDS``, for as long as their requests run.

    event                                   the request                 its slot
    a slot is asked for, one is free        runs                        is made
    ", none is free                         is refused                  -
    ", the store fails                      ``on_store_failure``        ends; if the request runs: made by
                                                                        the next beat
    a beat                                  -                           is renewed, or made again if the
                                                                        store has lost it
    a beat, the store fails                 -                           the next beat renews it
    the request ends, in whatever way       -                           ends
    ", the store fails                      -                           ends with its lease
    the process dies                        dies                        ends with its lease

While the store can be reached and loses nothing, no consumer ever has more slots than its limit, over all
processes. Every request that runs has a slot, with three exceptions, after each of which the next beat
makes the slot again, and others may have got in meanwhile:

- The store failed when the request came, and ``on_store_failure`` let it in.
- The store has lost its slots: it was started again, or another server is the primary.
- Its process stood still, or could not reach the store, for longer than a lease.

In each of them a process still admits no more by itself than the limit, because it counts its own requests.
No slot stays longer than a lease after its request: nothing has to be cleaned up.
"""

import asyncio
import itertools
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Protocol

from metaproxy.store.unavailable import StoreUnavailable
from metaproxy.tasks import TaskSet

LEASE_SECONDS = 6.0
"""How long a slot counts after it was made or renewed."""

BEATS_A_LEASE = 3
BEAT_SECONDS = LEASE_SECONDS / BEATS_A_LEASE
MAX_SLOTS_A_CALL = 500
"""One call keeps the store from all others while it runs."""

Slot = bytes
Batch = Mapping[str, Sequence[Slot]]
"""Slots by consumer."""


class Slots(Protocol):
    """The slots of all processes. Every method may raise StoreUnavailable."""

    @property
    def available(self) -> bool:
        """True if the store can be asked at all."""
        ...

    async def enter(self, consumer: str, slot: Slot, maximum: int) -> bool:
        """Make ``slot`` if ``consumer`` has fewer than ``maximum``; return whether it was made."""
        ...

    async def renew(self, batch: Batch) -> None:
        """Have the slots of ``batch`` count for one more lease; make those that are not there."""
        ...

    async def leave(self, batch: Batch) -> None:
        """End the slots of ``batch``, also those that are not there."""
        ...


class SharedRunning:
    """The slots of the requests of this process. It renews them from ``start`` to ``close``.

    Args:
        slots: the slots of all processes.
        lease_seconds: how long a slot counts there after it was made or renewed.
    """

    def __init__(self, slots: Slots, *, lease_seconds: float = LEASE_SECONDS) -> None:
        self._slots = slots
        self._beat_seconds = lease_seconds / BEATS_A_LEASE
        self._name = secrets.token_hex(8)
        self._numbers = itertools.count(1)
        self._held: dict[Slot, str] = {}
        """The slots of requests that run, with their consumers."""
        self._ended: dict[Slot, str] = {}
        """Those that the store has not been told of yet."""
        self._leaving = TaskSet()
        self._beating = TaskSet()
        self._beat_now = asyncio.Event()
        self._is_behind = False
        """True if the store has failed since the last beat: it may lack slots."""

    def __len__(self) -> int:
        """The number of slots of this process."""
        return len(self._held)

    @property
    def available(self) -> bool:
        """True if the store can be asked at all."""
        return self._slots.available

    async def start(self) -> None:
        """Begin to renew slots."""
        self._beating.start(self._beat_for_ever(), name="running-beat")

    async def close(self) -> None:
        """Renew no more, and end every slot of this process."""
        await self._beating.cancel()
        for slot, consumer in tuple(self._held.items()):
            self.leave(consumer, slot)
        await self._leaving.join()

    async def enter(self, consumer: str, maximum: int) -> Slot | None:
        """Return the slot of one more request of ``consumer``; None if it has ``maximum`` already.

        Raises StoreUnavailable. The caller calls ``leave`` when the request has ended.
        """
        slot = self._make()
        try:
            has_entered = await self._slots.enter(consumer, slot, maximum)
        except BaseException as error:
            self._is_behind = self._is_behind or isinstance(error, StoreUnavailable)
            self._end(consumer, slot)  # the store may have made it all the same
            raise
        if self._is_behind:
            self._beat_now.set()  # it is back, and may have come back empty
        if not has_entered:
            return None
        self._held[slot] = consumer
        return slot

    def hold(self, consumer: str) -> Slot:
        """Return the slot of a request that runs whatever the store says; the next beat makes it there."""
        slot = self._make()
        self._held[slot] = consumer
        self._is_behind = True
        return slot

    async def beat(self) -> None:
        """Renew every slot, if the store can be reached."""
        try:
            for portion in _portions(self._held):
                await self._slots.renew(_by_consumer(self._held, portion))
        except StoreUnavailable:
            self._is_behind = True
        else:
            self._is_behind = False

    def leave(self, consumer: str, slot: Slot) -> None:
        """End ``slot``."""
        self._held.pop(slot, None)
        self._end(consumer, slot)

    def _make(self) -> Slot:
        return f"{self._name}:{next(self._numbers)}".encode()

    def _end(self, consumer: str, slot: Slot) -> None:
        """End ``slot`` in the store, with all others that end in this turn of the loop."""
        if not self.available:
            return  # its lease ends it
        if not self._ended:
            self._leaving.start(self._leave_all(), name="running-leave")
        self._ended[slot] = consumer

    async def _leave_all(self) -> None:
        ended, self._ended = self._ended, {}
        with suppress(StoreUnavailable):
            for portion in _portions(ended):
                await self._slots.leave(_by_consumer(ended, portion))

    async def _beat_for_ever(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._beat_seconds):
                    await self._beat_now.wait()
            self._beat_now.clear()
            await self.beat()


def _portions(slots: Mapping[Slot, str]) -> list[list[Slot]]:
    names = list(slots)
    return [names[first : first + MAX_SLOTS_A_CALL] for first in range(0, len(names), MAX_SLOTS_A_CALL)]


def _by_consumer(slots: Mapping[Slot, str], names: Sequence[Slot]) -> Batch:
    """Return those of ``names`` that have not ended meanwhile, by consumer."""
    batch: dict[str, list[Slot]] = {}
    for name in names:
        if name in slots:
            batch.setdefault(slots[name], []).append(name)
    return batch
