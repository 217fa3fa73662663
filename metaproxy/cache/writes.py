"""Writes under way: what they concern is neither served from memory nor stored.

Between the moment a write is sent and the moment its effect is certain, the origin may answer a read
with the old value or with the new one. Were either stored, a later read could see the older of two
values that clients have already seen. So reads of what is being written go to the origin, each by
itself. A write whose effect stays uncertain (no answer, or 202) holds on for ``unsettled_seconds``.
"""

from collections.abc import Iterable

from metaproxy.clock import Clock

WRITE_SECONDS = 120.0
"""After so long without an end, a write that another replica told of is taken for over."""


class Writes:
    """The tags that writes under way concern.

    Args:
        monotonic: the clock.
        unsettled_seconds: how long a write of uncertain effect goes on to count.
    """

    def __init__(self, monotonic: Clock, *, unsettled_seconds: float = 30.0) -> None:
        self._monotonic = monotonic
        self._unsettled_seconds = unsettled_seconds
        self._until: dict[str, dict[object, float]] = {}

    def begin(self, write: object, tags: Iterable[str]) -> None:
        """Note that ``write`` concerns ``tags`` from now on."""
        until = self._monotonic() + WRITE_SECONDS
        for tag in tags:
            self._until.setdefault(tag, {})[write] = until

    def end(self, write: object, tags: Iterable[str], *, settled: bool) -> None:
        """Note that ``write`` is over; ``settled``: that its effect is certain."""
        for tag in tags:
            writes = self._until.get(tag, {})
            if settled:
                writes.pop(write, None)
            else:
                writes[write] = self._monotonic() + self._unsettled_seconds
            if not writes:
                self._until.pop(tag, None)

    def concern(self, tags: Iterable[str]) -> bool:
        """Whether a write under way concerns any of ``tags``."""
        return bool(self._until) and any(self._under_way(tag) for tag in tags)

    def _under_way(self, tag: str) -> bool:
        writes = self._until.get(tag)
        if writes is None:
            return False
        now = self._monotonic()
        for write in [write for write, until in writes.items() if until <= now]:
            del writes[write]
        if not writes:
            del self._until[tag]
        return bool(writes)
