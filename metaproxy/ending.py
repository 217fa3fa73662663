"""A cache whose entries learn that they are kept no longer.

Facts this file rests on. There may be a hundred thousand entries, so each costs a place in one ordered
dictionary and one in a list, and nothing else (cachetools' TLRUCache takes 0.5 KiB more). The dictionary has
the order of use. The list is for entries whose time is over: whenever an entry is set, a few others are
looked at, in turn, so that no request waits for a walk through all of them.
"""

from collections import OrderedDict
from collections.abc import Callable, ItemsView, Iterator, ValuesView
from typing import Generic, Protocol, TypeVar


class Ending(Protocol):
    """An entry that others may hold on to."""

    def end(self) -> None:
        """Take note of being kept no longer."""


K = TypeVar("K")
E = TypeVar("E", bound=Ending)

LOOKED_AT = 4
"""Entries that are looked at for each one that is set."""
MAX_REPRIEVES = 64
"""Entries that holders have used and that are passed over to find one that nobody has used."""


class EndingCache(Generic[K, E]):
    """Entries that live until a moment of their own; the least recently used one makes place.

    An entry is told when it leaves, for whatever reason, unless it is replaced.

    Args:
        maxsize: the bound on the sizes of all entries together.
        ttu: returns the moment until which an entry lives, given its key, the entry and the present.
        getsizeof: returns the size of an entry; 1 by default.
        was_used: says whether a holder has used the entry since it was asked last: then others leave first.
        at_end: called with each entry that leaves.
    """

    def __init__(
        self,
        maxsize: int,
        ttu: Callable[[K, E, float], float],
        timer: Callable[[], float],
        getsizeof: Callable[[E], int] | None = None,
        *,
        was_used: Callable[[E], bool] | None = None,
        at_end: Callable[[E], None] | None = None,
    ) -> None:
        self.maxsize = maxsize
        self.currsize = 0
        self._ttu, self._timer = ttu, timer
        self._size_of = getsizeof or _one
        self._was_used, self._at_end = was_used, at_end
        self._entries: OrderedDict[K, E] = OrderedDict()
        self._in_turn: list[K] = []
        """Every key, and some that are gone."""
        self._next = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: K) -> bool:
        entry = self._entries.get(key)
        return entry is not None and self._lives(key, entry, self._timer())

    def __iter__(self) -> Iterator[K]:
        return iter(self._entries)

    def values(self) -> ValuesView[E]:
        """Return the entries in the same order."""
        return self._entries.values()

    def items(self) -> ItemsView[K, E]:
        """Return the entries with their keys; the one that was used least recently is the first."""
        return self._entries.items()

    def get(self, key: K) -> E | None:
        """Return the entry under ``key``, which becomes the most recent one; None if there is none."""
        entry = self._entries.get(key)
        if entry is None or not self._lives(key, entry, self._timer()):
            return None
        self._entries.move_to_end(key)
        return entry

    def __setitem__(self, key: K, entry: E) -> None:
        """Keep ``entry`` as the most recent one. Raises ValueError if it is larger than all may be."""
        size = self._size_of(entry)
        if size > self.maxsize:
            raise ValueError("the entry is larger than all entries may be together")
        former = self._entries.get(key)
        if former is not None:
            self.currsize -= self._size_of(former)
        else:
            self._in_turn.append(key)
        self._entries[key] = entry
        self._entries.move_to_end(key)
        self.currsize += size
        self._expire()
        while self.currsize > self.maxsize:
            self.popitem()

    def pop(self, key: K, default: None = None) -> E | None:
        """Remove the entry under ``key`` and return it, untold; ``default`` if there is none."""
        entry = self._entries.pop(key, default)
        if entry is not None:
            self.currsize -= self._size_of(entry)
        return entry

    def popitem(self) -> tuple[K, E]:
        """Remove the entry that was used least recently; return it with its key."""
        key = next(iter(self._entries))
        for _ in range(MAX_REPRIEVES if self._was_used is not None else 0):
            if self._was_used is None or not self._was_used(self._entries[key]):
                break
            self._entries.move_to_end(key)
            key = next(iter(self._entries))
        entry = self._entries[key]
        self.drop(key)
        return key, entry

    def drop(self, key: K) -> None:
        """Remove the entry under ``key``, if there is one."""
        entry = self.pop(key)
        if entry is not None:
            entry.end()
            if self._at_end is not None:
                self._at_end(entry)

    def _lives(self, key: K, entry: E, now: float) -> bool:
        return now < self._ttu(key, entry, now)

    def _expire(self) -> None:
        """Look at the next few entries, and remove those whose time is over."""
        in_turn, entries = self._in_turn, self._entries
        if len(in_turn) > 2 * len(entries) + LOOKED_AT:
            in_turn[:] = entries
        now = self._timer()
        for _ in range(min(LOOKED_AT, len(in_turn))):
            if self._next >= len(in_turn):
                self._next = 0
            key = in_turn[self._next]
            entry = entries.get(key)
            if entry is not None and self._lives(key, entry, now):
                self._next += 1
                continue
            if entry is not None:
                self.drop(key)
            last = in_turn.pop()
            if self._next < len(in_turn):
                in_turn[self._next] = last


def _one(_: object) -> int:
    return 1
