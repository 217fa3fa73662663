"""A cache whose entries learn that they are kept no longer."""

from typing import Protocol, TypeVar

from cachetools import TLRUCache


class Ending(Protocol):
    """An entry that others may hold on to."""

    def end(self) -> None:
        """Take note of being kept no longer."""


K = TypeVar("K")
E = TypeVar("E", bound=Ending)


class EndingCache(TLRUCache[K, E]):
    """Tells an entry that leaves before its time, because others push it out or somebody drops it."""

    def popitem(self) -> tuple[K, E]:
        """Remove the entry that was used least recently; return it with its key."""
        key, entry = super().popitem()
        entry.end()
        return key, entry

    def drop(self, key: K) -> None:
        """Remove the entry under ``key``, if there is one."""
        entry = self.pop(key, None)
        if entry is not None:
            entry.end()
