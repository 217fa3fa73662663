"""Shared counters that lend slices: most requests are decided in this process, and reported behind them."""

import asyncio
from collections.abc import Sequence

from metaproxy import clock
from metaproxy.clock import Clock
from metaproxy.store.counters import Charge, SharedCounters, Taken
from metaproxy.store.slices import Slices
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
        self._tasks = TaskSet()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = float("inf")

    def can_take(self, charges: Sequence[Charge], now: float) -> bool:
        """Say whether ``take_now`` decides."""
        return self._slices.can_take(charges, now)

    def take_now(self, charges: Sequence[Charge], now: float) -> Taken | None:
        """Charge all or none by slices in hand; None if the store must be asked."""
        taken = self._slices.take(charges, now)
        if self._slices.is_due:
            self._exchange_soon()
        return taken

    async def take(self, charges: Sequence[Charge]) -> Taken:
        """Charge all or none in the store, and borrow beside it; raises StoreUnavailable."""
        sent = self._monotonic()
        wishes = self._slices.wishes(charges, sent)
        taken = await self._counters.take(charges, wishes)
        self._slices.learn(charges, wishes, taken, sent, self._monotonic())
        self._wake_in_time()
        return taken

    def reset(self, consumer: str) -> None:
        """Forget the slices of ``consumer``."""
        self._slices.reset(consumer)

    async def close(self) -> None:
        """Give all slices back, if the store can be asked."""
        self._stop_timer()
        self._slices.give_back()
        if self._slices.is_due:
            self._exchange_soon()
        await self._tasks.join()
        self._stop_timer()

    def _exchange_soon(self) -> None:
        if not self._tasks:
            self._tasks.start(self._exchange(), name="renewal of slices")

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
        if self._slices.is_due:
            self._exchange_soon()
        self._wake_in_time()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_at = None, float("inf")


class LeasedMeter:
    """One counter of the leases, for a caller who charges it again and again."""

    __slots__ = ("_charges", "_leases")

    def __init__(self, leases: Leases, charge: Charge) -> None:
        self._leases = leases
        self._charges = (charge,)

    def take(self, seconds: float) -> tuple[bool, tuple[int, int], int] | None:
        """Do what ``Meter.take`` does; None if the store must be asked."""
        taken = self._leases.take_now(self._charges, seconds)
        return None if taken is None else (taken.admitted, taken.states[0], taken.now)
