"""Debts: what the other replicas must still be told to purge."""

from collections import deque
from collections.abc import Sequence

MAX_OWED_TAGS = 10_000
"""If more are owed, everything is purged."""

RETOLD_SECONDS = 5.0
"""How long before a loss the server may have been one that the others had left."""

MAX_RETOLD = 1000
"""How many messages are told again; if there were more, everything is purged."""


class Debts:
    """Tags whose purge could not be told, and those of the last seconds, which may have been told in vain.

    No tags mean everything. Debts outlive a cache: the next one, which a reload makes, tells what is owed.
    """

    def __init__(self) -> None:
        self._tags: dict[str, None] = {}
        self._is_everything_owed = False
        self._told: deque[tuple[float, Sequence[str]]] = deque(maxlen=MAX_RETOLD)

    def __bool__(self) -> bool:
        """True if something is owed."""
        return self._is_everything_owed or bool(self._tags)

    def owe(self, tags: Sequence[str]) -> None:
        """Take note of ``tags`` that not everybody has been told of."""
        self._tags.update(dict.fromkeys(tags))
        if not tags or len(self._tags) > MAX_OWED_TAGS:
            self._is_everything_owed = True
            self._tags.clear()

    def note_told(self, moment: float, tags: Sequence[str]) -> None:
        """Take note of ``tags`` that were told at ``moment``, on the clock of leases."""
        self._told.append((moment, tags))

    def doubt_told(self, now: float) -> None:
        """Owe again what was told in the last seconds."""
        since = now - RETOLD_SECONDS
        if len(self._told) == MAX_RETOLD and self._told[0][0] > since:
            self.owe(())
        for told_at, tags in self._told:
            if told_at > since:
                self.owe(tags)
        self._told.clear()

    def take(self) -> Sequence[str]:
        """Return all tags that are owed, and owe nothing."""
        tags = () if self._is_everything_owed else tuple(self._tags)
        self._tags.clear()
        self._is_everything_owed = False
        return tags
