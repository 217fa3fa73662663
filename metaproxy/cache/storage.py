"""All that an answer on its way needs to be stored, whether it comes whole or in parts."""

from collections.abc import Iterable
from dataclasses import dataclass

from metaproxy.cache.admission import Admission
from metaproxy.cache.flights import Flights
from metaproxy.cache.memory import MemoryStore
from metaproxy.cache.trust import Trust
from metaproxy.cache.withdrawals import Withdrawals
from metaproxy.cache.writes import Writes
from metaproxy.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Storage:
    """Judges answers, stores them, and removes what they contradict.

    ``flights`` tell of purges that overtake an answer, ``writes`` of what is being written and must not be
    stored, and ``trust`` whether this process receives every write.
    """

    admission: Admission
    store: MemoryStore
    withdrawals: Withdrawals
    flights: Flights
    writes: Writes
    trust: Trust
    monotonic: Clock
    wall: Clock

    def is_overtaken(self, tags: Iterable[str], asked_at: float) -> bool:
        """Return True if a write may overtake an answer with ``tags`` asked for now (``asked_at``)."""
        return not self.trust.covers(asked_at, asked_at) or self.writes.concern(tags)
