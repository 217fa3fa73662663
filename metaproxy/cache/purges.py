"""Purging: removing what is stored, and dooming what is on its way."""

from collections.abc import Hashable, Sequence

from metaproxy.cache.flights import Flights
from metaproxy.cache.memory import MemoryStore
from metaproxy.cache.writes import Writes


class Purges:
    """Everything in this process that a write or an operator can make invalid."""

    def __init__(self, store: MemoryStore, flights: Flights, writes: Writes) -> None:
        self._store = store
        self._flights = flights
        self._writes = writes
        self.count = 0
        """How many keys were purged since the start."""

    def begin(self, write: Hashable, tags: Sequence[str]) -> None:
        """Purge ``tags``, and hold them back from being stored until the write has ended."""
        self._writes.begin(write, tags)
        self.tags(tags)

    def end(self, write: Hashable, tags: Sequence[str], *, settled: bool) -> None:
        """Purge ``tags`` again: a read may have overlapped the write."""
        self.tags(tags)
        self._writes.end(write, tags, settled=settled)

    def tags(self, tags: Sequence[str]) -> int:
        """Purge what has any of ``tags``; return how many keys there were."""
        for tag in tags:
            self._flights.doom(tag)
        return self._count(sum(self._store.purge(tag) for tag in tags))

    def all(self) -> int:
        """Purge everything; return how many keys there were."""
        self._flights.doom_all()
        return self._count(self._store.purge_all())

    def doubt(self) -> None:
        """Let nothing that is on its way be stored: a purge may have been missed."""
        self._flights.doom_all()

    def _count(self, keys: int) -> int:
        self.count += keys
        return keys
