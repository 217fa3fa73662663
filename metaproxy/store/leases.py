"""Shared counters that lend slices: most requests are decided in this process, and reported behind them."""

import asyncio
from collections.abc import Callable, Sequence

from metaproxy import clock
from metaproxy.clock import Clock
from metaproxy.protocol.limits.policy import MICROSECONDS, State
from metaproxy.store.counters import Charge, SharedCounters, Taken
from metaproxy.store.holding import Holding
from metaproxy.store.slices import Question, Slices
from metaproxy.store.unavailable import StoreUnavailable
from metaproxy.tasks import TaskSet

COUNTERS_AN_EXCHANGE = 256


class Leases:
    """Decides by slices (``slices``), and asks ``counters`` for them.

    Slices are reported and renewed in the background, those of many counters in one exchange. While one is
    under way, the next ones gather.

    Args:
        counters: the counters that replicas share.
        monotonic: the clock that lives are measured with.
    """

    def __init__(self, counters: SharedCounters, *, monotonic: Clock = clock.monotonic) -> None:
        self._counters = counters
        self._monotonic = monotonic
        self._slices = Slices()
        self._loans = TaskSet()
        self._renewals = TaskSet()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = float("inf")

    def can_take(self, charges: Sequence[Charge], now: float) -> bool:
        """Say whether ``take_now`` decides."""
        return self._slices.can_take(charges, now)

    def take_now(self, charges: Sequence[Charge], now: float) -> Taken | None:
        """Charge all or none by slices in hand; None if the store must be asked."""
        taken = self._slices.take(charges, now)
        if self._slices.is_due:
            self._exchange_if_due()
        return taken

    def refusal(self, charges: Sequence[Charge], now: float) -> Taken | None:
        """Return what ``take_now`` would, if that refuses; else None. Charges nothing."""
        return self._slices.refusal(charges, now)

    def meter(self, charge: Charge) -> "LeasedMeter":
        """Return the counter of ``charge`` for who charges it again and again."""
        return LeasedMeter(self._slices, charge, self.take_now)

    async def take(self, charges: Sequence[Charge]) -> Taken:
        """Charge all or none in the store, and borrow beside it; raises StoreUnavailable."""
        taken, tries = None, 0
        while taken is None:
            question = self._slices.question(charges, self._monotonic(), tries)
            if question.wishes:
                # The client may go away, but what is lent with the answer must be kept, and given back.
                taken = await asyncio.shield(self._loans.start(self._ask(question), name="loan of slices"))
            else:
                taken = await self._ask(question)
            tries += 1
        if isinstance(taken, StoreUnavailable):
            raise taken
        return taken

    async def peek(self, charges: Sequence[Charge]) -> Taken:
        """Return the counters as they stand, what is in hand here being free; raises StoreUnavailable."""
        in_hand = self._slices.in_hand(charges)
        taken = await self._counters.peek(charges)
        states = [
            (max(amount - sum(loan.left for loan in loans) * charge.rule.policy.weight, 0), since)
            for charge, (amount, since), loans in zip(charges, taken.states, in_hand, strict=True)
        ]
        return taken._replace(states=states)

    def reset(self, consumer: str) -> None:
        """Forget the slices of ``consumer``."""
        self._slices.reset(consumer)

    async def close(self) -> None:
        """Borrow nothing any more, and give all slices back if the store can be asked."""
        self._stop_timer()
        self._slices.close()
        await self._loans.join()
        self._exchange_if_due()
        await self._renewals.join()
        self._stop_timer()

    async def _ask(self, question: Question) -> Taken | StoreUnavailable | None:
        taken = None
        try:
            taken = await self._counters.take(question.asked, question.wishes)
        except StoreUnavailable as error:
            return error
        finally:
            if taken is None:
                self._slices.unanswered(question, self._monotonic())
        verdict = self._slices.answered(question, taken, self._monotonic())
        self._exchange_if_due()
        self._wake_in_time()
        return verdict

    def _exchange_if_due(self) -> None:
        if self._slices.is_due and not self._renewals:
            self._renewals.start(self._exchange(), name="renewal of slices")

    async def _exchange(self) -> None:
        while self._slices.is_due:
            sent = self._monotonic()
            report = self._slices.collect(COUNTERS_AN_EXCHANGE, sent)
            if not report.returns and not report.wishes:
                continue
            try:
                answer = await self._counters.exchange(*report)
            except StoreUnavailable:
                answer = None
            self._slices.exchanged(report, answer, sent, self._monotonic())
        self._wake_in_time()

    def _wake_in_time(self) -> None:
        closing = self._slices.next_closing
        if closing is None or closing >= self._timer_at:
            return
        self._stop_timer()
        self._timer_at = closing
        seconds = max(closing - self._monotonic(), 0)
        self._timer = asyncio.get_running_loop().call_later(seconds, self._wake)

    def _wake(self) -> None:
        self._stop_timer()
        self._slices.close_due(self._monotonic())
        self._exchange_if_due()
        self._wake_in_time()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_at = None, float("inf")


class LeasedMeter:
    """One counter of the leases, for a caller who charges it again and again.

    Args:
        slices: where its slices are held.
        charge: what is charged to it.
        take_now: charges it if more than spending a slice is to be done.
    """

    __slots__ = ("_charges", "_holding", "_slices", "_take_now")

    def __init__(
        self, slices: Slices, charge: Charge, take_now: Callable[[Sequence[Charge], float], Taken | None]
    ) -> None:
        self._slices = slices
        self._charges = (charge,)
        self._take_now = take_now
        self._holding = Holding(charge.counter)

    def take(self, seconds: float) -> tuple[bool, State, int] | None:
        """Do what ``Meter.take`` does; None if the store must be asked."""
        holding = self._holding
        loan = holding.loan
        if seconds < holding.until and loan.left > holding.above:
            loan.left -= 1
            moment = holding.offset + int(seconds * MICROSECONDS)
            holding.known = holding.admit(holding.known, moment)[1]
            return True, holding.known, moment
        taken = self._take_now(self._charges, seconds)
        self._holding = self._slices.holding(self._charges[0].key) or holding
        return None if taken is None else (taken.admitted, taken.states[0], taken.now)

    def can_take(self, seconds: float) -> bool:
        """Say whether ``take`` decides."""
        return self._slices.can_take(self._charges, seconds)

    def refusal(self, seconds: float) -> tuple[State, int] | None:
        """Return what ``take`` would, but for its saying so, if it is known to refuse; charges nothing."""
        taken = self._slices.refusal(self._charges, seconds)
        return None if taken is None else (taken.states[0], taken.now)
