"""The slices of one counter in one replica: what is left of them, and what the replica has learnt.

``known`` is the counter as its consumer may see it: requests that this replica has borrowed and not admitted
are free in it. ``take`` of a meter reads ``loan``, ``above`` and ``until``: a request that comes before
``until``, while more than ``above`` requests of ``loan`` are left, is charged to it and nothing else is due.
"""

from bisect import insort
from collections.abc import Sequence
from operator import attrgetter

from metaproxy.protocol.limits.lending import FEWEST, Mark, Slice, life_of
from metaproxy.protocol.limits.policy import MICROSECONDS, UNTOUCHED, State
from metaproxy.store.counters import Counter, Return

FIRST_WISH = 16
MOST_TIMES = 4
"""A slice is at most so many times as large as the one before it."""
SPENDABLE = 0.75
"""The part of a slice's life for which it is spent. The rest is for the report."""
SLOWER = 2
"""The time to wait for the next answer, as a multiple of the time that the last one took."""
LONGEST_REFUSAL = 1.0
"""Seconds for which a refusal, and the state of a counter, may be returned without asking."""

NEVER = float("-inf")

_closing = attrgetter("closes")


class Loan:
    """A slice in hand: requests that are ``left``, ``reserved`` for a question to the store, or spent."""

    __slots__ = ("closes", "left", "mark", "renews", "requests", "reserved", "unreported")

    def __init__(self, loan: Slice, since: float, now: float) -> None:
        self.mark: Mark = loan.mark
        self.requests = self.left = self.unreported = loan.requests
        self.reserved = 0
        self.closes = since + loan.seconds * SPENDABLE
        # If answers are slow, ask so early that the next slice is here before this one ends.
        self.renews = min(since + loan.seconds / 2, self.closes - SLOWER * (now - since))

    @property
    def spent(self) -> int:
        """Requests that were admitted since the last report."""
        return self.unreported - self.left - self.reserved


NO_LOAN = Loan(Slice(0, 0.0, (0, 0)), NEVER, 0.0)


class Holding:
    """The slices of one counter, in the order in which they end and are spent."""

    __slots__ = (
        "_answered",
        "_asks_from",
        "_left_then",
        "_loans",
        "_refused_until",
        "_sent",
        "_store_now",
        "_then",
        "_wanted",
        "above",
        "admit",
        "counter",
        "is_asking",
        "known",
        "life",
        "loan",
        "offset",
        "size",
        "until",
    )

    def __init__(self, counter: Counter) -> None:
        self.counter = counter
        self.admit = counter.policy.admit
        self.life = life_of(counter.policy) / MICROSECONDS
        self.size = FIRST_WISH
        self.is_asking = False
        self.known: State = UNTOUCHED
        self.offset = 0
        """Microseconds that the store's clock is ahead of ours, or fewer, because replies take time."""
        self.loan = NO_LOAN
        self.above = 0
        self.until = NEVER
        self._loans: list[Loan] = []
        self._wanted = 0
        self._store_now = 0
        self._asks_from = self._refused_until = self._sent = self._answered = NEVER
        self._left_then, self._then = 0, NEVER

    def __bool__(self) -> bool:
        """True if slices are in hand, or their report is not made."""
        return bool(self._loans)

    @property
    def loans(self) -> Sequence[Loan]:
        """The slices in hand."""
        return tuple(self._loans)

    def has_room(self, now: float) -> bool:
        """Say whether a request can be charged to a slice."""
        if self.loan.left and now < self.loan.closes:
            return True
        for loan in self._loans:  # noqa: SIM110 (a generator costs more than the rest)
            if loan.left and now < loan.closes:
                return True
        return False

    def is_refused(self, now: float) -> bool:
        """Say whether nothing fits, as far as the last answer says."""
        if now >= self._refused_until:
            return False
        moment = self.moment(now)
        return self.counter.policy.wait(self.told(now, moment), moment) > 0

    def is_recent(self, now: float, seconds: float = LONGEST_REFUSAL) -> bool:
        """Say whether the last answer is no older than ``seconds``."""
        return now - self._sent <= seconds

    def has_ended(self, now: float) -> bool:
        """Say whether nothing here is of use any more."""
        return not self._loans and not self.is_recent(now, max(self.life, LONGEST_REFUSAL))

    def moment(self, now: float) -> int:
        """Return the time of the store's clock: not later than it is."""
        return self.offset + int(now * MICROSECONDS)

    def told(self, now: float, moment: int) -> State:
        """Return the counter as its consumer may see it ``now``, as if the store's clock said ``moment``.

        Each counter has an estimate of that clock by its own last answer.
        """
        own = self.moment(now)
        amount, since = self.counter.policy.settle(self.known, own)
        return amount, since + moment - own

    def spend(self, now: float) -> bool:
        """Charge one request, for which there is room. Return True if more should be asked for."""
        loan = self._spendable(now)
        loan.left -= 1
        self._count(now)
        if self._should_ask(now):
            self._wanted = self.size = self._expected(now)
        self.arrange(now)
        return bool(self._wanted)

    def reserve(self, now: float) -> Loan:
        """Keep one request, for which there is room, until the store has decided about other counters."""
        loan = self._spendable(now)
        loan.left -= 1
        loan.reserved += 1
        return loan

    def release(self, loan: Loan, now: float, *, is_spent: bool) -> bool:
        """Charge what ``reserve`` has kept, or do not. Return True if the loan must be reported anew."""
        loan.reserved -= 1
        if is_spent:
            self._count(now)
        else:
            loan.left += 1
        self.arrange(now)
        return now >= loan.closes

    def wish(self, now: float) -> int:
        """Return how many requests a charge at the store should ask for beside it, and take note of it."""
        if self.is_asking or now < self._asks_from or not self.is_recent(now, self.life):
            return 0
        self.is_asking = True
        return self.size

    def learn(self, state: State, store_now: int, sent: float, now: float, loan: Slice | None) -> Loan | None:
        """Keep the answer to a question that was ``sent``, and what was lent with it."""
        held = None
        if loan is not None:
            held = Loan(loan, sent, now)
            insort(self._loans, held, key=_closing)
        if store_now >= self._store_now or sent >= self._answered:
            left = sum([each.reserved + (each.left if now < each.closes else 0) for each in self._loans])
            self.known = max(state[0] - left * self.counter.policy.weight, 0), state[1]
            self._store_now, self._sent, self._answered = store_now, sent, now
            self.offset = store_now - int(now * MICROSECONDS)
            wait = self.counter.policy.wait(self.known, store_now) / MICROSECONDS
            self._refused_until = sent + min(wait, LONGEST_REFUSAL)
        elif held is not None:  # a later state came earlier, and has counted this slice
            units = held.left * self.counter.policy.weight
            self.known = max(self.known[0] - units, 0), self.known[1]
        if held is not None:
            self._left_then, self._then = sum([each.left for each in self._loans]), now
        self.arrange(now)
        return held

    def asked(self, now: float, *, has_lent: bool) -> None:
        """Note that a wish was answered, or never will be. If nothing was lent, wait before the next."""
        self.is_asking = False
        if not has_lent:
            self._asks_from = now + self.life / 4
        self.arrange(now)

    def close(self) -> None:
        """Spend nothing of these slices any more."""
        self._wanted = 0
        for loan in self._loans:
            loan.closes = NEVER
        self.arrange(NEVER)

    def report(self, now: float) -> list[Return]:
        """Return the requests that were spent since the last report, and those that never will be."""
        returns = []
        for loan in self._loans:
            spent, unused = loan.spent, loan.left if now >= loan.closes else 0
            if spent or unused:
                returns.append(Return(self.counter, loan.mark, spent, unused))
                loan.unreported -= spent + unused
                loan.left -= unused
                self._left_then -= unused
        self._loans = [loan for loan in self._loans if loan.unreported]
        self.arrange(now)
        return returns

    def renewal(self) -> int:
        """Return how many requests to ask for, or 0; and take note that they are asked for."""
        wanted, self._wanted = self._wanted, 0
        if wanted:
            self.is_asking = True
        return wanted

    def arrange(self, now: float) -> None:
        """Find the loan that is spent next, and until when nothing but spending is to be done."""
        self.loan, self.above, self.until = NO_LOAN, 0, NEVER
        for loan in self._loans:
            if loan.left and now < loan.closes:
                break
        else:
            return
        self.loan, self.until = loan, loan.closes
        if self.is_asking or self._wanted:
            return
        if now < self._asks_from:
            self.until = min(loan.closes, self._asks_from)
            return
        last = self._loans[-1]
        others = sum([each.left for each in self._loans]) - loan.left
        self.above = max(last.requests // 2 - others, 0)
        self.until = min(loan.closes, last.renews)

    def _spendable(self, now: float) -> Loan:
        return next(loan for loan in self._loans if loan.left and now < loan.closes)

    def _count(self, now: float) -> None:
        _, self.known = self.admit(self.known, self.moment(now))

    def _should_ask(self, now: float) -> bool:
        if self.is_asking or self._wanted or now < self._asks_from:
            return False
        last = self._loans[-1]
        left = sum([loan.left for loan in self._loans])
        return 2 * left <= last.requests or now >= last.renews

    def _expected(self, now: float) -> int:
        """Return how many requests a life will see, as far as the last slice says."""
        spent = self._left_then - sum([loan.left for loan in self._loans])
        elapsed = max(now - self._then, self.life / 1000)
        return max(min(round(spent * self.life / elapsed), MOST_TIMES * self._loans[-1].requests), FEWEST)
