"""Busiest consumers: request counts of the busiest consumers, in bounded memory.

Counts are kept for the current period and the one before, so that the answer is about now. A table
that is full drops its lesser half: a heavy consumer stays and is counted exactly; one that sends little
may be counted from its last return on.
"""

from heapq import nlargest
from typing import NamedTuple


class ConsumerCount(NamedTuple):
    """The requests of one consumer in this period and the last."""

    consumer: str
    requests: int
    refusals: int


class TopConsumers:
    """Counts requests and refusals by consumer.

    Args:
        capacity: how many consumers are counted at once in a period.
        period_seconds: how long a period is.
    """

    def __init__(self, *, capacity: int = 1024, period_seconds: float = 60.0) -> None:
        self._capacity = capacity
        self._period_seconds = period_seconds
        self._ends = float("-inf")
        self._current: dict[str, list[int]] = {}
        self._previous: dict[str, list[int]] = {}

    def record(self, consumer: str, now: float, *, refused: bool) -> None:
        """Count one request of ``consumer`` at ``now`` (seconds)."""
        if now >= self._ends:
            self._turn(now)
        counts = self._current.get(consumer)
        if counts is None:
            if len(self._current) >= self._capacity:
                self._trim()
            counts = self._current[consumer] = [0, 0]
        counts[0] += 1
        counts[1] += refused

    def top(self, number: int, now: float) -> list[ConsumerCount]:
        """Return the ``number`` busiest consumers at ``now``, busiest first."""
        if now >= self._ends:
            self._turn(now)
        totals = {consumer: list(counts) for consumer, counts in self._previous.items()}
        for consumer, (requests, refusals) in self._current.items():
            total = totals.setdefault(consumer, [0, 0])
            total[0] += requests
            total[1] += refusals
        counted = (ConsumerCount(consumer, *counts) for consumer, counts in totals.items())
        return nlargest(number, counted, key=lambda count: (count.requests, count.consumer))

    def forget(self, consumer: str) -> None:
        """Begin anew for ``consumer``."""
        self._current.pop(consumer, None)
        self._previous.pop(consumer, None)

    def _turn(self, now: float) -> None:
        lapsed = now >= self._ends + self._period_seconds
        self._previous = {} if lapsed else self._current
        self._current = {}
        self._ends = now + self._period_seconds

    def _trim(self) -> None:
        kept = nlargest(self._capacity // 2, self._current.items(), key=lambda item: item[1][0])
        self._current = dict(kept)
