"""The slices that one replica holds: which requests it may admit by itself, and what it must report and ask.

Without I/O: ``leases`` sends what is collected here, and reports what came of it.

- A slice is spent for three quarters of its life, counted from before it was asked for. The rest of the life
  is for the report, so that unused requests go back in time.
- A consumer's first request asks for nothing ahead. From the second within a life on, a slice is asked for.
- A slice is renewed when half of it is spent, or half of its life is over, if it is still in use.
- A report is sent once. If it is lost, its requests stay charged: at most those of one slice.
- A refusal is remembered until the counter may have room again, and for at most a second, because a reset
  or unused requests of another replica may make room earlier.
"""

from collections import OrderedDict
from collections.abc import Sequence
from heapq import heappop, heappush
from itertools import count
from typing import NamedTuple

from metaproxy.protocol.limits.lending import FEWEST, Mark, Slice, life_of
from metaproxy.protocol.limits.policy import MICROSECONDS, UNTOUCHED, State
from metaproxy.store.counters import Charge, Counter, Exchanged, Return, Taken, Wish, belongs_to

MAX_HOLDINGS = 10_000
FIRST_WISH = 16
MOST_TIMES = 4
"""A slice is at most so many times as large as the one before it."""
SPENDABLE = 0.75
LONGEST_REFUSAL = 1.0
"""Seconds for which a refusal, and the state of a counter, may be told without asking."""
SWEPT = 2
"""Holdings that are looked at for each new one, the least recently used first, to forget what has ended."""


class Report(NamedTuple):
    """The contents of one exchange, and the holdings that it is about."""

    returns: Sequence[Return]
    wishes: Sequence[Wish]


class Slices:
    """The slices of one replica by the key of their counter, of at most ``max_holdings`` counters."""

    def __init__(self, max_holdings: int = MAX_HOLDINGS) -> None:
        self._max_holdings = max_holdings
        self._holdings: OrderedDict[str, _Holding] = OrderedDict()
        self._due: dict[str, _Holding] = {}
        self._closings: list[tuple[float, int, _Holding]] = []
        self._numbers = count()

    def __len__(self) -> int:
        return len(self._holdings)

    @property
    def is_due(self) -> bool:
        """True if there is something to report or to ask for."""
        return bool(self._due)

    @property
    def next_closing(self) -> float | None:
        """The moment at which the next slice must be reported."""
        return self._closings[0][0] if self._closings else None

    def can_take(self, charges: Sequence[Charge], now: float) -> bool:
        """Say whether ``take`` decides."""
        return self._decided(charges, now) is not None

    def take(self, charges: Sequence[Charge], now: float) -> Taken | None:
        """Charge every counter to its slice, or refuse if that is known; None if the store must decide."""
        holdings = self._decided(charges, now)
        if holdings is None:
            return None
        admitted = all(holding.has_room(now) for holding in holdings)
        if admitted:
            for holding in holdings:
                if holding.spend(now):
                    self._due[holding.counter.key] = holding
        moment = max([holding.moment(now) for holding in holdings])
        return Taken(admitted, [holding.told(moment, now) for holding in holdings], moment)

    def _decided(self, charges: Sequence[Charge], now: float) -> "list[_Holding] | None":
        """Return the holdings of ``charges`` if they decide: all have room, or one is known to have none."""
        holdings = []
        are_roomy, is_refused = True, False
        for charge in charges:
            holding = self._holdings.get(charge.key)
            if holding is None:
                return None
            if not holding.has_room(now):
                are_roomy = False
                is_refused = is_refused or now < holding.refused_until
            holdings.append(holding)
        if are_roomy:
            return holdings
        if not is_refused or any(now - holding.at > LONGEST_REFUSAL for holding in holdings):
            return None
        return holdings

    def wishes(self, charges: Sequence[Charge], now: float) -> Sequence[int]:
        """Return what a charge at the store should ask for beside it; empty if that is nothing."""
        wishes = [self._wish(charge, now) for charge in charges]
        return wishes if any(wishes) else ()

    def learn(
        self, charges: Sequence[Charge], wishes: Sequence[int], taken: Taken, sent: float, now: float
    ) -> None:
        """Keep the answer, which came ``now``, to a charge that was ``sent`` with ``wishes``."""
        slices = taken.slices or [None] * len(charges)
        for position, (charge, state, loan) in enumerate(zip(charges, taken.states, slices, strict=True)):
            holding = self._holding(charge.counter, now)
            holding.learn(state, taken.now, sent, now)
            if loan is not None:
                self._hold(holding, loan, sent)
            elif wishes and wishes[position]:
                holding.ask_no_more(now)

    def collect(self, most: int, now: float) -> Report:
        """Return what must be reported and asked for now, of at most ``most`` counters."""
        self._close(now)
        returns: list[Return] = []
        wishes: list[Wish] = []
        for key in list(self._due)[:most]:
            holding = self._due.pop(key)
            returns += holding.report(now)
            if requests := holding.renewal():
                wishes.append(Wish(holding.counter, requests))
        return Report(returns, wishes)

    def exchanged(self, report: Report, answer: Exchanged | None, sent: float, now: float) -> None:
        """Keep the ``answer`` to ``report``; None if there was none."""
        for position, wish in enumerate(report.wishes):
            holding = self._holdings.get(wish.counter.key)
            if holding is None:  # it was reset: the slice is left to its end
                continue
            holding.is_asking = False
            loan = None
            if answer is not None:
                state, loan = answer.lent[position]
                holding.learn(state, answer.now, sent, now)
            if loan is None:
                holding.ask_no_more(now)
            else:
                self._hold(holding, loan, sent)

    def close_due(self, now: float) -> None:
        """Note the slices that are not spent any more, so that ``collect`` reports them."""
        self._close(now)

    def give_back(self) -> None:
        """Spend no slice any more, and note all of them, so that ``collect`` reports them."""
        for holding in self._holdings.values():
            if holding.loans:
                holding.close()
                self._due[holding.counter.key] = holding
        self._closings.clear()

    def reset(self, consumer: str) -> None:
        """Forget every counter of ``consumer``, its slices included."""
        for key in [key for key in self._holdings if belongs_to(key, consumer)]:
            del self._holdings[key]
            self._due.pop(key, None)

    def _wish(self, charge: Charge, now: float) -> int:
        holding = self._holdings.get(charge.key)
        if holding is None or holding.has_room(now) or holding.is_asking or now < holding.asks_from:
            return 0
        return holding.size if now - holding.at <= holding.life else 0

    def _hold(self, holding: "_Holding", loan: Slice, sent: float) -> None:
        closes = holding.hold(loan, sent)
        heappush(self._closings, (closes, next(self._numbers), holding))

    def _holding(self, counter: Counter, now: float) -> "_Holding":
        key = counter.key
        holding = self._holdings.get(key)
        if holding is not None:
            self._holdings.move_to_end(key)
            return holding
        for _ in range(min(SWEPT, len(self._holdings))):
            oldest, former = next(iter(self._holdings.items()))
            if len(self._holdings) < self._max_holdings and not former.has_ended(now):
                break
            del self._holdings[oldest]
            if former.loans:
                former.close()
                self._due[oldest] = former
        holding = self._holdings[key] = _Holding(counter)
        return holding

    def _close(self, now: float) -> None:
        while self._closings and self._closings[0][0] <= now:
            holding = heappop(self._closings)[2]
            if holding.loans and self._holdings.get(holding.counter.key) is holding:
                self._due[holding.counter.key] = holding


class _Loan:
    """A slice in hand."""

    __slots__ = ("closes", "left", "mark", "requests", "since", "spent")

    def __init__(self, loan: Slice, since: float) -> None:
        self.mark: Mark = loan.mark
        self.requests = self.left = loan.requests
        self.spent = 0
        self.since = since
        self.closes = since + loan.seconds * SPENDABLE


class _Holding:
    """The slices of one counter, the first one to be spent first, and what is known of it."""

    __slots__ = (
        "asks_from",
        "at",
        "counter",
        "is_asking",
        "life",
        "loans",
        "refused_until",
        "size",
        "state",
        "state_now",
        "wanted",
    )

    def __init__(self, counter: Counter) -> None:
        self.counter = counter
        self.loans: list[_Loan] = []
        self.life = life_of(counter.policy) / MICROSECONDS
        self.size = FIRST_WISH
        self.is_asking = False
        self.wanted = 0
        self.asks_from = self.refused_until = self.at = float("-inf")
        self.state, self.state_now = UNTOUCHED, 0

    def has_room(self, now: float) -> bool:
        for loan in self.loans:  # noqa: SIM110 (a generator costs more than the rest)
            if loan.left and now < loan.closes:
                return True
        return False

    def has_ended(self, now: float) -> bool:
        return not self.loans and now > max(self.at + LONGEST_REFUSAL, self.refused_until)

    def spend(self, now: float) -> bool:
        """Charge one request, for which there is room. Return True if more should be asked for."""
        for loan in self.loans:
            if loan.left and now < loan.closes:
                loan.left -= 1
                loan.spent += 1
                break
        return self._wants_more(now)

    def moment(self, now: float) -> int:
        """Return the time of the store's clock: not later than it is, because replies take time."""
        return self.state_now + max(round((now - self.at) * MICROSECONDS), 0)

    def told(self, moment: int, now: float) -> State:
        """Return the counter as the consumer may know it: unspent requests of slices in hand are free."""
        policy = self.counter.policy
        amount, since = policy.settle(self.state, moment)
        left = sum([loan.left for loan in self.loans if now < loan.closes])
        return max(amount - left * policy.weight, 0), since

    def learn(self, state: State, store_now: int, sent: float, now: float) -> None:
        """Keep the ``state`` that the store answered. Nothing fits before its wait is over."""
        self.state, self.state_now, self.at = state, store_now, now
        self._note_refusal(sent)

    def _note_refusal(self, sent: float) -> None:
        policy = self.counter.policy
        wait = policy.wait(self.state, self.state_now) / MICROSECONDS
        self.refused_until = sent + min(wait, LONGEST_REFUSAL) if wait else float("-inf")

    def ask_no_more(self, now: float) -> None:
        """Nothing was lent: wait for a quarter of a life before the next wish."""
        self.asks_from = now + self.life / 4

    def hold(self, loan: Slice, sent: float) -> float:
        """Keep ``loan``, and return when it must be reported."""
        held = _Loan(loan, sent)
        self.loans.append(held)
        return held.closes

    def close(self) -> None:
        self.wanted = 0
        for loan in self.loans:
            loan.closes = float("-inf")

    def report(self, now: float) -> list[Return]:
        """Return the requests that were spent since the last report, and those that never will be."""
        returns = []
        for loan in self.loans:
            unused = loan.left if now >= loan.closes else 0
            if loan.spent or unused:
                returns.append(Return(self.counter, loan.mark, loan.spent, unused))
            if unused:
                amount, since = self.state
                self.state = max(amount - unused * self.counter.policy.weight, 0), since
                self.refused_until = float("-inf")
            loan.left -= unused
            loan.spent = 0
        self.loans = [loan for loan in self.loans if loan.left]
        return returns

    def renewal(self) -> int:
        """Return how many requests to ask for, or 0; and take note that they are asked for."""
        wanted, self.wanted = self.wanted, 0
        if wanted:
            self.is_asking = True
        return wanted

    def _wants_more(self, now: float) -> bool:
        if self.is_asking or self.wanted or now < self.asks_from:
            return False
        last = self.loans[-1]
        left = sum([loan.left for loan in self.loans])
        if 2 * left > last.requests and now < last.since + self.life / 2:
            return False
        elapsed = max(now - last.since, self.life / 1000)
        in_a_life = round((last.requests - last.left) * self.life / elapsed)
        self.wanted = self.size = max(min(in_a_life, MOST_TIMES * last.requests), FEWEST)
        return True
