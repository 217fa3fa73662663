"""Writes under way: what they concern is neither served from memory nor stored.

Between the moment a write is sent and the moment its effect is certain, the origin may answer a read
with the old value or with the new one. Were either stored, a later read could see the older of two
values that clients have already seen. So reads of what is being written go to the origin, each by
itself. A write whose effect stays uncertain (no answer, or 202) holds on for ``UNSETTLED_SECONDS``.
"""

from collections.abc import Hashable, Iterable

from metaproxy.clock import Clock

WRITE_SECONDS = 120.0
"""After so long without an end, a write that another replica told of is taken for over."""
UNSETTLED_SECONDS = 30.0
"""How long a write of uncertain effect goes on to count."""
MAX_TAGS = 65536
"""How many tags are held; beyond that the oldest go, whose writes are the likeliest over."""


class Writes:
    """The tags that writes under way concern."""

    def __init__(self, monotonic: Clock) -> None:
        self._monotonic = monotonic
        # By the hashes of tags, because a tag may hold a whole path. After a collision more is held back.
        self._until: dict[int, dict[Hashable, float]] = {}

    def begin(self, write: Hashable, tags: Iterable[str]) -> None:
        """Note that ``write`` concerns ``tags`` from now on."""
        self._hold(write, tags, WRITE_SECONDS)

    def end(self, write: Hashable, tags: Iterable[str], *, settled: bool) -> None:
        """Note that ``write`` is over; ``settled``: that its effect is certain."""
        if not settled:
            self._hold(write, tags, UNSETTLED_SECONDS)
            return
        for tag in map(hash, tags):
            writes = self._until.get(tag, {})
            writes.pop(write, None)
            if not writes:
                self._until.pop(tag, None)

    def concern(self, tags: Iterable[str]) -> bool:
        """Return True if a write under way concerns any of ``tags``."""
        return bool(self._until) and any(self._under_way(hash(tag)) for tag in tags)

    def _hold(self, write: Hashable, tags: Iterable[str], seconds: float) -> None:
        until = self._monotonic() + seconds
        for tag in map(hash, tags):
            writes = self._until.pop(tag, {})
            writes[write] = until
            self._until[tag] = writes
        while len(self._until) > MAX_TAGS:
            del self._until[next(iter(self._until))]

    def _under_way(self, tag: int) -> bool:
        writes = self._until.get(tag)
        if writes is None:
            return False
        now = self._monotonic()
        for write in [write for write, until in writes.items() if until <= now]:
            del writes[write]
        if not writes:
            del self._until[tag]
        return bool(writes)
