"""The one bounded memo.

A memo holds what was computed, so that it need not be computed again. It is emptied when it is full, because
to find its least used entry would cost more than to compute a few again.
"""

from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Memo(dict[K, V]):
    """Values by key. Read it as a dictionary, and write it with ``keep``.

    Args:
        max_entries: the number of entries at which it is emptied; 0 keeps nothing.
        max_size: the greatest size of a key (characters or bytes) that is kept, so that memory is bounded in
            bytes as well.
    """

    __slots__ = ("_max_entries", "_max_size")

    def __init__(self, max_entries: int = 1024, max_size: int = 512) -> None:
        super().__init__()
        self._max_entries = max_entries
        self._max_size = max_size

    def keep(self, key: K, value: V, size: int = 0) -> V:
        """Keep ``value`` under ``key``, whose size is ``size``; return ``value``."""
        if size <= self._max_size and self._max_entries:
            if len(self) >= self._max_entries:
                self.clear()
            self[key] = value
        return value
