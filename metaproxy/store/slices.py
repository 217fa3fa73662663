"""The slices that one replica holds: which requests it may admit by itself, and what it must report and ask.

Without I/O: ``leases`` sends what is collected here, and passes on the answers.

- A slice is spent for three quarters of its life, counted from before it was asked for. The rest of the life
  is for the report, so that unused requests go back in time.
- A consumer's first request asks for nothing ahead. From the second within a life on, a slice is asked for,
  by one question at a time.
- A slice is renewed when half of it is spent, or half of its life is over, if it is still in use.
- If a request meets several counters, those that have a slice are charged to it, and only the others are
  asked about. So no request is refused because of what this replica itself has borrowed.
- A report is sent once. If it is lost, its requests stay charged: at most those of one slice.
- A refusal is remembered until the counter may have room again, and for at most a second, because a reset
  or unused requests of another replica may make room earlier.
"""

from collections import OrderedDict
from collections.abc import Sequence
from heapq import heappop, heappush
from itertools import count
from typing import NamedTuple

from metaproxy.protocol.limits.lending import Slice
from metaproxy.protocol.limits.policy import MICROSECONDS, State
from metaproxy.store.counters import Charge, Counter, Exchanged, Return, Taken, Wish, belongs_to
from metaproxy.store.holding import Holding, Loan

MAX_HOLDINGS = 10_000
MOST_TRIES = 2
"""Questions about one request before it is refused although a slice came in the meantime."""
SWEPT = 2
"""Holdings that are looked at for each new one, the least recently used first, to forget what has ended."""


class Report(NamedTuple):
    """The contents of one exchange."""

    returns: Sequence[Return]
    wishes: Sequence[Wish]


class Question(NamedTuple):
    """A request that the store must decide: which counters it is asked about, and what to lend beside.

    ``reserved`` are the slices that are charged if the store admits the request. ``tries`` counts
    the questions about it before this one.
    """

    charges: Sequence[Charge]
    asked: Sequence[Charge]
    wishes: Sequence[int]
    reserved: Sequence[tuple[Holding, Loan]]
    sent: float
    tries: int


class Slices:
    """The slices of one replica by the key of their counter, of at most ``max_holdings`` counters."""

    def __init__(self, max_holdings: int = MAX_HOLDINGS) -> None:
        self._max_holdings = max_holdings
        self._holdings: OrderedDict[str, Holding] = OrderedDict()
        self._due: dict[Holding, None] = {}
        self._closings: list[tuple[float, int, Holding]] = []
        self._numbers = count()
        self._is_closed = False

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

    def holding(self, key: str) -> Holding | None:
        """Return the slices of one counter, and what is known of it."""
        return self._holdings.get(key)

    def in_hand(self, charges: Sequence[Charge]) -> Sequence[Sequence[Loan]]:
        """Return the slices of each counter of ``charges``, as they are now."""
        holdings = [self._holdings.get(charge.key) for charge in charges]
        return [() if holding is None else holding.loans for holding in holdings]

    def can_take(self, charges: Sequence[Charge], now: float) -> bool:
        """Say whether ``take`` decides."""
        holdings = self._held(charges)
        if holdings is None:
            return False
        return _have_room(holdings, now) or _are_refused(holdings, now)

    def take(self, charges: Sequence[Charge], now: float) -> Taken | None:
        """Charge every counter to its slice, or refuse if that is known; None if the store must decide."""
        holdings = self._held(charges)
        if holdings is None:
            return None
        for holding in holdings:
            if now >= holding.until or holding.loan.left <= holding.above:
                return self._take_with_care(holdings, now)
        microseconds = int(now * MICROSECONDS)
        first = holdings[0].offset
        states = []
        for holding in holdings:
            holding.loan.left -= 1
            amount, since = holding.known = holding.admit(holding.known, holding.offset + microseconds)[1]
            states.append((amount, since + first - holding.offset))
        return Taken(admitted=True, states=states, now=first + microseconds)

    def refusal(self, charges: Sequence[Charge], now: float) -> Taken | None:
        """Return what ``take`` would, if that refuses; else None. Charges nothing."""
        holdings = self._held(charges)
        if holdings is None or _have_room(holdings, now):
            return None
        return _taken(holdings, now, admitted=False) if _are_refused(holdings, now) else None

    def question(self, charges: Sequence[Charge], now: float, tries: int = 0) -> Question:
        """Return what to ask the store about a request that ``take`` does not decide."""
        asked, wishes = [], []
        reserved = []
        for charge in charges:
            holding = self._holdings.get(charge.key)
            if holding is not None and holding.has_room(now):
                reserved.append((holding, holding.reserve(now)))
                continue
            asked.append(charge)
            wishes.append(0 if holding is None or self._is_closed else holding.wish(now))
        return Question(charges, asked, wishes if any(wishes) else (), reserved, now, tries)

    def answered(self, question: Question, taken: Taken, now: float) -> Taken | None:
        """Keep the answer to ``question``, which came ``now``; return the verdict about the request.

        A request that the store refuses may fit a slice that came in the meantime. None if it may fit that
        and the store must be asked about its other counters.
        """
        holdings = {holding.counter.key: holding for holding, _ in question.reserved}
        slices = taken.slices or [None] * len(question.asked)
        for position, (charge, state, loan) in enumerate(
            zip(question.asked, taken.states, slices, strict=True)
        ):
            holding = holdings[charge.key] = self._holding(charge.counter, now)
            self._learn(holding, state, taken.now, question.sent, now, loan)
            if question.wishes and question.wishes[position]:
                holding.asked(now, has_lent=loan is not None)
        self._release(question, now, is_spent=taken.admitted)
        verdict = _taken([holdings[charge.key] for charge in question.charges], now, admitted=taken.admitted)
        if taken.admitted or not _says_it_fits(question.charges, verdict):
            return verdict
        by_slices = self.take(question.charges, now)
        if by_slices is not None or question.tries < MOST_TRIES:
            return by_slices
        told = dict(zip([charge.key for charge in question.asked], taken.states, strict=True))
        states = [
            told.get(charge.key, state)
            for charge, state in zip(question.charges, verdict.states, strict=True)
        ]
        return Taken(taken.admitted, states, taken.now)

    def unanswered(self, question: Question, now: float) -> None:
        """Note that ``question`` will not be answered."""
        for charge, wish in zip(question.asked, question.wishes, strict=bool(question.wishes)):
            holding = self._holdings.get(charge.key)
            if wish and holding is not None:
                holding.asked(now, has_lent=False)
        self._release(question, now, is_spent=False)

    def collect(self, most: int, now: float) -> Report:
        """Return what must be reported and asked for now, of at most ``most`` counters."""
        self.close_due(now)
        returns: list[Return] = []
        wishes: list[Wish] = []
        for holding in list(self._due)[:most]:
            del self._due[holding]
            returns += holding.report(now)
            if self._is_held(holding) and (requests := holding.renewal()):
                wishes.append(Wish(holding.counter, requests))
        return Report(returns, wishes)

    def exchanged(self, report: Report, answer: Exchanged | None, sent: float, now: float) -> None:
        """Keep the ``answer`` to ``report``; None if there was none."""
        for position, wish in enumerate(report.wishes):
            holding = self._holdings.get(wish.counter.key)
            if holding is None:  # it was reset: the slice is left to its end
                continue
            loan = None
            if answer is not None:
                state, loan = answer.lent[position]
                self._learn(holding, state, answer.now, sent, now, loan)
            holding.asked(now, has_lent=loan is not None)

    def close_due(self, now: float) -> None:
        """Note the slices that are not spent any more, so that ``collect`` reports them."""
        while self._closings and self._closings[0][0] <= now:
            holding = heappop(self._closings)[2]
            if holding and self._is_held(holding):
                self._due[holding] = None

    def close(self) -> None:
        """Borrow nothing and spend no slice any more, and note all, so that ``collect`` reports them."""
        self._is_closed = True
        for holding in self._holdings.values():
            self._close(holding)
        self._closings.clear()

    def reset(self, consumer: str) -> None:
        """Forget every counter of ``consumer``, its slices included."""
        for key in [key for key in self._holdings if belongs_to(key, consumer)]:
            holding = self._holdings.pop(key)
            holding.close()
            self._due.pop(holding, None)

    def _take_with_care(self, holdings: Sequence[Holding], now: float) -> Taken | None:
        """Do what ``take`` does if something may be due, or have no room."""
        if _have_room(holdings, now):
            for holding in holdings:
                if holding.spend(now):
                    self._due[holding] = None
            return _taken(holdings, now, admitted=True)
        return _taken(holdings, now, admitted=False) if _are_refused(holdings, now) else None

    def _held(self, charges: Sequence[Charge]) -> list[Holding] | None:
        holdings = []
        for charge in charges:
            holding = self._holdings.get(charge.key)
            if holding is None:
                return None
            holdings.append(holding)
        return holdings

    def _learn(
        self, holding: Holding, state: State, store_now: int, sent: float, now: float, loan: Slice | None
    ) -> None:
        held = holding.learn(state, store_now, sent, now, loan)
        if held is not None and self._is_closed:
            self._close(holding)
        elif held is not None:
            heappush(self._closings, (held.closes, next(self._numbers), holding))

    def _release(self, question: Question, now: float, *, is_spent: bool) -> None:
        for holding, loan in question.reserved:
            if holding.release(loan, now, is_spent=is_spent) and self._is_held(holding):
                self._due[holding] = None

    def _holding(self, counter: Counter, now: float) -> Holding:
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
            self._close(former)
        holding = self._holdings[key] = Holding(counter)
        return holding

    def _is_held(self, holding: Holding) -> bool:
        return self._holdings.get(holding.counter.key) is holding

    def _close(self, holding: Holding) -> None:
        if holding:
            holding.close()
            self._due[holding] = None


def _says_it_fits(charges: Sequence[Charge], taken: Taken) -> bool:
    return not any(
        charge.rule.policy.wait(state, taken.now) for charge, state in zip(charges, taken.states, strict=True)
    )


def _have_room(holdings: Sequence[Holding], now: float) -> bool:
    for holding in holdings:  # noqa: SIM110 (a generator costs more than the rest)
        if not holding.has_room(now):
            return False
    return True


def _are_refused(holdings: Sequence[Holding], now: float) -> bool:
    """Say whether one is known to have no room, and all are known well enough to say so to the client."""
    is_refused = False
    for holding in holdings:
        if not holding.is_recent(now):
            return False
        is_refused = is_refused or (not holding.has_room(now) and holding.is_refused(now))
    return is_refused


def _taken(holdings: Sequence[Holding], now: float, *, admitted: bool) -> Taken:
    moment = holdings[0].moment(now)
    return Taken(admitted, [holding.told(now, moment) for holding in holdings], moment)
