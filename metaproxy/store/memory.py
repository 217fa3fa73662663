"""Counters in this process: bounded, and without a lock, because one event loop owns them."""

from collections.abc import Sequence

from cachetools import TLRUCache

from metaproxy import clock
from metaproxy.clock import Clock
from metaproxy.protocol.limits.policy import MICROSECONDS, UNTOUCHED, State, fits, spend
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
        self._cells: TLRUCache[str, _Cell] = TLRUCache(max_counters, ttu=_kept_until, timer=self._now)

    def __len__(self) -> int:
        return len(self._cells)

    def take(self, charges: Sequence[Charge], cost: int = 1) -> Taken:
        """Charge ``cost`` to every counter, or to none if one of them has no room."""
        now = self._now()
        settled = tuple(self._settled(charge, now) for charge in charges)
        admitted = all(
            fits(charge.rule.policy, state, cost) for charge, state in zip(charges, settled, strict=True)
        )
        if not admitted:
            return Taken(admitted=False, states=settled, now=now)
        spent = tuple(
            self._spend(charge, state, now, cost) for charge, state in zip(charges, settled, strict=True)
        )
        return Taken(admitted=True, states=spent, now=now)

    def peek(self, charges: Sequence[Charge]) -> Taken:
        """Return the counters as they stand, without charging anything."""
        now = self._now()
        return Taken(admitted=True, states=tuple(self._settled(charge, now) for charge in charges), now=now)

    def reset(self, consumer: str) -> int:
        """Forget every counter of ``consumer`` (``project:a1``); return how many there were."""
        found = [key for key in self._cells if belongs_to(key, consumer)]
        for key in found:
            self._cells.pop(key, None)
        return len(found)

    def _now(self) -> int:
        return int(self._monotonic() * MICROSECONDS)

    def _settled(self, charge: Charge, now: int) -> State:
        cell = self._cells.get(charge.key)
        return charge.rule.policy.settle(cell.state if cell is not None else UNTOUCHED, now)

    def _spend(self, charge: Charge, settled: State, now: int, cost: int) -> State:
        policy = charge.rule.policy
        state = spend(policy, settled, cost)
        cell = self._cells.get(charge.key)
        if cell is None or cell.kept_until - now < policy.horizon:
            self._cells[charge.key] = _Cell(state, now + 2 * policy.horizon)
        else:
            cell.state = state
        return state


class _Cell:
    __slots__ = ("kept_until", "state")

    def __init__(self, state: State, kept_until: int) -> None:
        self.state = state
        self.kept_until = kept_until


def _kept_until(key: str, cell: _Cell, now: float) -> float:
    return cell.kept_until
