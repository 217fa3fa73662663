"""The state in the hub, and the answers to requests that concern it. Bounded, without I/O."""

from metaproxy import clock
from metaproxy.clock import Clock
from metaproxy.store.counters import Exchanged, Return, Wish
from metaproxy.store.hub.frames import MessageError
from metaproxy.store.hub.held_slots import HeldSlots
from metaproxy.store.hub.messages import (
    Answer,
    Charged,
    Enter,
    Leave,
    Lending,
    Number,
    Recall,
    Record,
    Renew,
    Reset,
    StateRequest,
    Swap,
    Take,
)
from metaproxy.store.hub.rated import ReceivedCounters
from metaproxy.store.hub.record import RecordedRevocations
from metaproxy.store.ledger import Ledger


class HeldState:
    """Counters, revocations and the slots of running requests.

    Args:
        max_counters: how many counters are kept.
        monotonic: the clock that counts.
    """

    def __init__(self, *, max_counters: int = 100_000, monotonic: Clock = clock.monotonic) -> None:
        self._ledger = Ledger(max_counters=max_counters, monotonic=monotonic)
        self._received = ReceivedCounters()
        self._revocations = RecordedRevocations(monotonic=monotonic)
        self._slots = HeldSlots(monotonic=monotonic)

    def hold(self, max_counters: int) -> None:
        """Keep at most ``max_counters`` from now on."""
        self._ledger.hold(max_counters)

    def answer(self, request: StateRequest) -> Answer:
        """Do ``request`` and return its answer; raises MessageError."""
        answer: Answer = Number(0)
        match request:
            case Take(counters, cost, wishes):
                if wishes and len(wishes) != len(counters):
                    raise MessageError("not one wish for each counter")
                charged = [self._received.counter(counter) for counter in counters]
                answer = Charged(self._ledger.take(charged, cost, wishes))
            case Swap():
                answer = Lending(self._exchange(request))
            case Reset(consumer):
                answer = Number(self._ledger.reset(consumer))
            case Record(entries):
                self._revocations.add(entries)
            case Recall(since):
                answer = self._revocations.recall(since)
            case Enter(consumer, slot, maximum):
                answer = Number(int(self._slots.enter(consumer, slot, maximum)))
            case Renew(slots):
                self._slots.renew(slots)
            case Leave(slots):
                self._slots.leave(slots)
        return answer

    def _exchange(self, request: Swap) -> Exchanged:
        counter = self._received.counter
        return self._ledger.exchange(
            [Return(counter(each.counter), each.mark, each.spent, each.unused) for each in request.returns],
            [Wish(counter(each.counter), each.requests) for each in request.wishes],
        )
