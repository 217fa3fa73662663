"""The slots of running requests that the hub holds. Bounded, without I/O."""

from collections.abc import Mapping, Sequence

from metaproxy import clock
from metaproxy.clock import Clock
from metaproxy.store.running import LEASE_SECONDS, Slot

MAX_SLOTS = 2**20
"""Slots of all consumers together; none is made beyond."""
SWEPT_A_CALL = 2
"""Consumers that are looked at in each call, to forget slots whose processes have died."""


class HeldSlots:
    """Slots by consumer, each until its lease ends.

    Args:
        lease_seconds: how long a slot counts after it was made or renewed.
        most: how many are held.
        monotonic: the clock of leases.
    """

    def __init__(
        self,
        *,
        lease_seconds: float = LEASE_SECONDS,
        most: int = MAX_SLOTS,
        monotonic: Clock = clock.monotonic,
    ) -> None:
        self._lease_seconds = lease_seconds
        self._most = most
        self._monotonic = monotonic
        self._ends: dict[str, dict[Slot, float]] = {}
        self._count = 0

    def __len__(self) -> int:
        """The number of slots, those included whose lease has ended a moment ago."""
        return self._count

    def enter(self, consumer: str, slot: Slot, maximum: int) -> bool:
        """Make ``slot`` if ``consumer`` has fewer than ``maximum``; return whether it was made."""
        now = self._monotonic()
        self._sweep(now)
        self._end_leases(consumer, now)
        if len(self._ends.get(consumer, ())) >= maximum:
            return False
        return self._renew(consumer, slot, now)

    def renew(self, batch: Mapping[str, Sequence[Slot]]) -> None:
        """Have the slots of ``batch`` count for one more lease; make those that are not there."""
        now = self._monotonic()
        for consumer, slots in batch.items():
            for slot in slots:
                self._renew(consumer, slot, now)

    def leave(self, batch: Mapping[str, Sequence[Slot]]) -> None:
        """End the slots of ``batch``, also those that are not there."""
        for consumer, slots in batch.items():
            self._remove(consumer, slots)

    def _renew(self, consumer: str, slot: Slot, now: float) -> bool:
        ends = self._ends.get(consumer, {})
        if slot not in ends:
            if self._count >= self._most:
                return False
            self._count += 1
        self._ends[consumer] = ends
        ends[slot] = now + self._lease_seconds
        return True

    def _remove(self, consumer: str, slots: Sequence[Slot]) -> None:
        ends = self._ends.get(consumer)
        if ends is None:
            return
        for slot in slots:
            if ends.pop(slot, None) is not None:
                self._count -= 1
        if not ends:
            del self._ends[consumer]

    def _end_leases(self, consumer: str, now: float) -> None:
        ends = self._ends.get(consumer, {})
        self._remove(consumer, [slot for slot, end in ends.items() if end <= now])

    def _sweep(self, now: float) -> None:
        """Look at the consumers in turn, so that none is held for long whose requests have ended."""
        for _ in range(min(SWEPT_A_CALL, len(self._ends))):
            consumer = next(iter(self._ends))
            self._ends[consumer] = self._ends.pop(consumer)  # to the end of the row
            self._end_leases(consumer, now)
