"""Counters in this process: bounded, and without a lock, because one event loop owns them."""

from collections.abc import Sequence

from cachetools import TLRUCache

from metaproxy import clock
from metaproxy.clock import Clock
from metaproxy.protocol.limits.policy import MICROSECONDS, UNTOUCHED, fits, spend
from metaproxy.store.counters import Charge, Taken, belongs_to


class MemoryCounters:
    """Counters that live as long as what they count, and at most ``max_counters`` of them.

    Where the bound is reached, the counter that was used least recently goes: the one that has leaked
    most. Setting an entry of the cache costs more than all the rest of a check, so a counter is a
    mutable cell that is kept for two horizons and set anew only when less than one is left.

    Args:
        max_counters: how many counters are kept.
        monotonic: the clock that counts.
    """

    def __init__(self, *, max_counters: int = 100_000, monotonic: Clock = clock.monotonic) -> None:
        self._monotonic = monotonic
        self._cells: TLRUCache[str, _Cell] = TLRUCache(max_counters, ttu=_kept_until, timer=monotonic)

    def __len__(self) -> int:
        return len(self._cells)

    def take(self, charges: Sequence[Charge], cost: int = 1) -> Taken:
        """Charge ``cost`` to every counter, or to none if one of them has no room."""
        seconds = self._monotonic()
        now = round(seconds * MICROSECONDS)
        cells, states = [], []
        admitted = True
        for key, _, rule in charges:
            cell = self._cell(key)
            state = rule.policy.settle(cell.state, now)
            admitted = admitted and fits(rule.policy, state, cost)
            cells.append(cell)
            states.append(state)
        if admitted:
            for index, (key, _, rule) in enumerate(charges):
                cell = cells[index]
                cell.state = states[index] = spend(rule.policy, states[index], cost)
                if cell.kept_until < seconds + rule.keep_seconds:
                    cell.kept_until = seconds + 2 * rule.keep_seconds
                    self._cells[key] = cell
        return Taken(admitted, states, now)

    def peek(self, charges: Sequence[Charge]) -> Taken:
        """Return the counters as they stand, without charging anything."""
        now = round(self._monotonic() * MICROSECONDS)
        states = [rule.policy.settle(self._cell(key).state, now) for key, _, rule in charges]
        return Taken(admitted=True, states=states, now=now)

    def reset(self, consumer: str) -> int:
        """Forget every counter of ``consumer`` (``project:a1``); return how many there were."""
        found = [key for key in self._cells if belongs_to(key, consumer)]
        for key in found:
            self._cells.pop(key, None)
        return len(found)

    def _cell(self, key: str) -> "_Cell":
        """The cell of a counter, or an untouched one that is not kept yet."""
        try:
            return self._cells[key]
        except KeyError:
            return _Cell()


class _Cell:
    __slots__ = ("kept_until", "state")

    def __init__(self) -> None:
        self.state = UNTOUCHED
        self.kept_until = 0.0


def _kept_until(key: str, cell: _Cell, now: float) -> float:
    return cell.kept_until
