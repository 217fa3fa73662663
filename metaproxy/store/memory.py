"""Counters in this process: bounded, and without a lock, because one event loop owns them."""

from collections.abc import Sequence

from metaproxy import clock
from metaproxy.clock import Clock
from metaproxy.ending import EndingCache
from metaproxy.protocol.limits.policy import MICROSECONDS, UNTOUCHED, State
from metaproxy.store.counters import Charge, Taken, belongs_to

MAX_RECENT = 4096
NEVER = float("-inf")


class MemoryCounters:
    """Counters that live as long as what they count, and at most ``max_counters`` of them.

    If the bound is reached, the counter that was used least recently goes: the one that has leaked
    most. Setting an entry of the cache costs more than all the rest of a check, so a counter is a
    mutable cell that is kept for two horizons and set anew only when less than one is left.

    Args:
        max_counters: how many counters are kept.
        monotonic: the clock that counts.
    """

    def __init__(self, *, max_counters: int = 100_000, monotonic: Clock = clock.monotonic) -> None:
        self._monotonic = monotonic
        self._cells = self._new_cells(max_counters)
        # The same cells again, found in a tenth of the time; cleared when there are too many.
        self._recent: dict[str, _Cell] = {}

    def __len__(self) -> int:
        return len(self._cells)

    async def start(self) -> None:
        """Nothing begins: a counter is made by the first request that it counts."""

    async def close(self) -> None:
        """Nothing ends."""

    def hold(self, max_counters: int) -> None:
        """Keep at most ``max_counters`` from now on. The counters that were used last stay."""
        if max_counters == self._cells.maxsize:
            return
        former = self._cells
        while len(former) > max_counters:
            former.popitem()
        self._cells = self._new_cells(max_counters)
        for key, cell in list(former.items()):
            self._cells[key] = cell
        self._recent.clear()

    def _new_cells(self, max_counters: int) -> "EndingCache[str, _Cell]":
        return EndingCache(max_counters, ttu=_kept_until, timer=self._monotonic)

    def take(self, charges: Sequence[Charge], cost: int = 1) -> Taken:
        """Charge ``cost`` to every counter, or to none if one of them has no room."""
        seconds = self._monotonic()
        now = round(seconds * MICROSECONDS)
        cells = [self.cell(charge.key) for charge in charges]
        pairs = list(zip(charges, cells, strict=True))
        verdicts = [charge.rule.policy.admit(cell.state, now, cost) for charge, cell in pairs]
        if all(fits for fits, _ in verdicts):
            for charge, cell, (_, state) in zip(charges, cells, verdicts, strict=True):
                self.keep(charge, cell, state, seconds)
            return Taken(admitted=True, states=[state for _, state in verdicts], now=now)
        # Nothing was charged, so each stands where it stood: also those that had room.
        states = [charge.rule.policy.settle(cell.state, now) for charge, cell in pairs]
        return Taken(admitted=False, states=states, now=now)

    def give_back(self, charges: Sequence[Charge]) -> None:
        """Take back one charge of each counter."""
        now = round(self._monotonic() * MICROSECONDS)
        for key, _, rule in charges:
            cell = self.cell(key)
            amount, since = rule.policy.settle(cell.state, now)
            cell.state = max(amount - rule.policy.weight, 0), since

    def keep(self, charge: Charge, cell: "_Cell", state: State, seconds: float) -> None:
        """Keep ``state`` in the cell of ``charge``, for as long as it counts from ``seconds`` on."""
        cell.state = state
        if cell.kept_until < seconds + charge.rule.keep_seconds:
            cell.kept_until = seconds + 2 * charge.rule.keep_seconds
            self._cells[charge.key] = cell

    def refusal(self, charges: Sequence[Charge], cost: int = 1) -> Taken | None:
        """Return what ``take`` would, where it would refuse; else None. Charges nothing."""
        now = round(self._monotonic() * MICROSECONDS)
        for key, _, rule in charges:
            if not rule.policy.admit(self.cell(key).state, now, cost)[0]:
                states = [rule.policy.settle(self.cell(key).state, now) for key, _, rule in charges]
                return Taken(admitted=False, states=states, now=now)
        return None

    def peek(self, charges: Sequence[Charge]) -> Taken:
        """Return the counters as they stand, without charging anything."""
        now = round(self._monotonic() * MICROSECONDS)
        states = [rule.policy.settle(self.cell(key).state, now) for key, _, rule in charges]
        return Taken(admitted=True, states=states, now=now)

    def reset(self, consumer: str) -> int:
        """Forget every counter of ``consumer`` (``project:a1``); return how many there were."""
        found = [key for key in self._cells if belongs_to(key, consumer)]
        for key in found:
            self._cells.drop(key)
        self._recent.clear()
        return len(found)

    def meter(self, charge: Charge) -> "Meter":
        """Return the counter of ``charge`` for who charges it again and again."""
        return Meter(self, charge)

    def cell(self, key: str) -> "_Cell":
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
        self.kept_until = NEVER

    def end(self) -> None:
        self.kept_until = NEVER


class Meter:
    """One of the counters. It is found once, and again when it is not kept any more.

    Args:
        counters: where it is kept.
        charge: what is charged to it.
    """

    __slots__ = ("_admit", "_cell", "_charge", "_counters", "_keep_seconds")

    def __init__(self, counters: MemoryCounters, charge: Charge) -> None:
        self._counters = counters
        self._charge = charge
        self._keep_seconds = charge.rule.keep_seconds
        self._admit = charge.rule.policy.admit
        self._cell = _Cell()

    def take(self, seconds: float) -> tuple[bool, State, int]:
        """Charge one request at the monotonic time ``seconds``, if it has room.

        Returns whether it had, the counter's state, and the moment (microseconds) that this refers to.
        """
        now = round(seconds * MICROSECONDS)
        cell = self._cell
        is_kept = cell.kept_until >= seconds + self._keep_seconds
        if not is_kept:
            cell = self._cell = self._counters.cell(self._charge.key)
        admitted, state = self._admit(cell.state, now)
        if is_kept and admitted:
            cell.state = state
        elif admitted:
            self._counters.keep(self._charge, cell, state, seconds)
        return admitted, state, now

    def can_take(self, seconds: float) -> bool:
        """Say that ``take`` decides."""
        return True

    def refusal(self, seconds: float) -> tuple[State, int] | None:
        """Return what ``take`` would, but for its saying so, where it has no room; charges nothing."""
        now = round(seconds * MICROSECONDS)
        cell = self._cell
        if cell.kept_until < seconds + self._keep_seconds:
            cell = self._counters.cell(self._charge.key)
        admitted, state = self._admit(cell.state, now)
        return None if admitted else (state, now)


def _kept_until(key: str, cell: _Cell, now: float) -> float:
    return cell.kept_until
