"""Counters in this process: bounded, and without a lock, because one event loop owns them."""

from collections.abc import Sequence

from cachetools import TLRUCache

from metaproxy import clock
from metaproxy.clock import Clock
from metaproxy.protocol.limits.policy import MICROSECONDS, UNTOUCHED, State
from metaproxy.protocol.limits.table import CompiledRule
from metaproxy.store.counters import Charge, Taken, belongs_to

MAX_RECENT = 4096


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
        # The same cells again, found in a tenth of the time; cleared when there are too many.
        self._recent: dict[str, _Cell] = {}

    def __len__(self) -> int:
        return len(self._cells)

    def take(self, charges: Sequence[Charge], cost: int = 1) -> Taken:
        """Charge ``cost`` to every counter, or to none if one of them has no room."""
        seconds = self._monotonic()
        if len(charges) == 1:
            return self.take_one(charges[0], seconds, cost)
        now = round(seconds * MICROSECONDS)
        cells = [self._cell(charge.key) for charge in charges]
        pairs = list(zip(charges, cells, strict=True))
        verdicts = [charge.rule.policy.admit(cell.state, now, cost) for charge, cell in pairs]
        if all(fits for fits, _ in verdicts):
            for (key, _, rule), cell, (_, state) in zip(charges, cells, verdicts, strict=True):
                self._keep(key, cell, rule, state, seconds)
            return Taken(admitted=True, states=[state for _, state in verdicts], now=now)
        # Nothing was charged, so each stands where it stood: also those that had room.
        states = [charge.rule.policy.settle(cell.state, now) for charge, cell in pairs]
        return Taken(admitted=False, states=states, now=now)

    def take_one(self, charge: Charge, seconds: float, cost: int = 1) -> Taken:
        """Charge the one counter that most requests meet, at the monotonic time ``seconds``."""
        now = round(seconds * MICROSECONDS)
        key, _, rule = charge
        cell = self._recent.get(key) or self._cell(key)
        admitted, state = rule.policy.admit(cell.state, now, cost)
        if admitted:
            self._keep(key, cell, rule, state, seconds)
        return Taken(admitted, (state,), now)

    def _keep(self, key: str, cell: "_Cell", rule: CompiledRule, state: State, seconds: float) -> None:
        cell.state = state
        if cell.kept_until < seconds + rule.keep_seconds:
            cell.kept_until = seconds + 2 * rule.keep_seconds
            self._cells[key] = cell

    def refusal(self, charges: Sequence[Charge], cost: int = 1) -> Taken | None:
        """Return what ``take`` would, where it would refuse; else None. Charges nothing."""
        seconds = self._monotonic()
        if len(charges) == 1:
            return self.refusal_of_one(charges[0], seconds, cost)
        now = round(seconds * MICROSECONDS)
        for key, _, rule in charges:
            if not rule.policy.admit(self._cell(key).state, now, cost)[0]:
                states = [rule.policy.settle(self._cell(key).state, now) for key, _, rule in charges]
                return Taken(admitted=False, states=states, now=now)
        return None

    def refusal_of_one(self, charge: Charge, seconds: float, cost: int = 1) -> Taken | None:
        """Do what ``refusal`` does for the one counter that most requests meet, at the time ``seconds``."""
        now = round(seconds * MICROSECONDS)
        key, _, rule = charge
        cell = self._recent.get(key) or self._cell(key)
        admitted, state = rule.policy.admit(cell.state, now, cost)
        return None if admitted else Taken(admitted=False, states=(state,), now=now)

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
        self._recent.clear()
        return len(found)

    def _cell(self, key: str) -> "_Cell":
        """The cell of a counter, or an untouched one that is not kept yet."""
        cell = self._recent.get(key)
        if cell is None:
            if len(self._recent) >= MAX_RECENT:
                self._recent.clear()
            # No entry, or one that has lapsed: whatever stood in it has run out.
            cell = self._recent[key] = self._cells.get(key) or _Cell()
        return cell


class _Cell:
    __slots__ = ("kept_until", "state")

    def __init__(self) -> None:
        self.state = UNTOUCHED
        self.kept_until = 0.0


def _kept_until(key: str, cell: _Cell, now: float) -> float:
    return cell.kept_until
