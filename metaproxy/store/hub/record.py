"""The revocations that the hub has recorded. Bounded, without I/O."""

from collections.abc import Sequence
from itertools import islice

from metaproxy import clock
from metaproxy.clock import Clock
from metaproxy.store.hub.messages import MAX_ENTRIES, Entry, Recalled
from metaproxy.store.revocations import KEPT_SECONDS, MAX_RECORDED

MAX_RECALLED_BYTES = 2**18
MAX_RECORDED_BYTES = 2**24


class RecordedRevocations:
    """The last revocations, for as long as a token may live. Each has a number, larger than the one before.

    Args:
        monotonic: the clock that tells their age.
        most: how many are kept.
    """

    def __init__(self, *, monotonic: Clock = clock.monotonic, most: int = MAX_RECORDED) -> None:
        self._monotonic = monotonic
        self._most = most
        self._kept: dict[bytes, tuple[int, float]] = {}
        self._bytes = 0
        self._last = 0
        self._last_lost = 0

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, entries: Sequence[Entry]) -> None:
        """Record ``entries``. One that is recorded already gets a new number and the later of both times."""
        now = self._monotonic()
        for payload, age in entries:
            _, former = self._drop(payload) if payload in self._kept else (0, float("-inf"))
            self._last += 1
            self._kept[payload] = self._last, max(former, now - age)
            self._bytes += len(payload)
        self._drop_old(now)
        while len(self._kept) > self._most or self._bytes > MAX_RECORDED_BYTES:
            self._last_lost, _ = self._drop(next(iter(self._kept)))

    def recall(self, since: int) -> Recalled:
        """Return the first of those with a number above ``since``."""
        now = self._monotonic()
        self._drop_old(now)
        found: list[Entry] = []
        until, size, more = since, 0, False
        for payload, (number, moment) in self._kept.items():
            if number <= since:
                continue
            if len(found) == MAX_ENTRIES or size > MAX_RECALLED_BYTES:
                more = True
                break
            found.append((payload, max(0.0, now - moment)))
            until, size = number, size + len(payload)
        return Recalled(tuple(found), until, is_whole=since >= self._last_lost, more=more)

    def _drop_old(self, now: float) -> None:
        """Drop the first ones if no token lives longer than they are old."""
        oldest = now - KEPT_SECONDS
        old = [payload for payload, (_, moment) in islice(self._kept.items(), MAX_ENTRIES) if moment < oldest]
        for payload in old:
            self._drop(payload)

    def _drop(self, payload: bytes) -> tuple[int, float]:
        self._bytes -= len(payload)
        return self._kept.pop(payload)
