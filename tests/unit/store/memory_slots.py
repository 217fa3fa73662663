"""Slots of running requests in memory, in place of a store."""

from metaproxy import clock
from metaproxy.clock import Clock
from metaproxy.store.running import LEASE_SECONDS, Batch, Slot


class MemorySlots:
    """The slots of all processes that reach this one. It never fails.

    Args:
        lease_seconds: how long a slot counts.
        monotonic: the clock of leases.
    """

    available = True

    def __init__(self, *, lease_seconds: float = LEASE_SECONDS, monotonic: Clock = clock.monotonic) -> None:
        self._lease_seconds = lease_seconds
        self._monotonic = monotonic
        self._ends: dict[str, dict[Slot, float]] = {}

    def of(self, consumer: str) -> int:
        """Return how many slots of ``consumer`` count."""
        return len(self._counting(consumer))

    def forget(self) -> None:
        """Lose every slot, as a store does that is started again."""
        self._ends.clear()

    async def enter(self, consumer: str, slot: Slot, maximum: int) -> bool:
        """Make ``slot`` if ``consumer`` has fewer than ``maximum``; return whether it was made."""
        if len(self._counting(consumer)) >= maximum:
            return False
        await self.renew({consumer: [slot]})
        return True

    async def renew(self, batch: Batch) -> None:
        """Have the slots of ``batch`` count for one more lease, also those that are not there."""
        end = self._monotonic() + self._lease_seconds
        for consumer, slots in batch.items():
            self._ends.setdefault(consumer, {}).update(dict.fromkeys(slots, end))

    async def leave(self, batch: Batch) -> None:
        """Remove the slots of ``batch``."""
        for consumer, slots in batch.items():
            ends = self._counting(consumer)
            for slot in slots:
                ends.pop(slot, None)
            if not ends:
                self._ends.pop(consumer, None)

    def _counting(self, consumer: str) -> dict[Slot, float]:
        ends = self._ends.get(consumer, {})
        now = self._monotonic()
        for slot in [slot for slot, end in ends.items() if end <= now]:
            del ends[slot]
        return ends
