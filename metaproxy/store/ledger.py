"""Counters in this process that lend slices: what a process holds for several others that share it."""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import count
from random import SystemRandom

from metaproxy import clock
from metaproxy.clock import Clock
from metaproxy.protocol.limits.lending import Account, Slice
from metaproxy.protocol.limits.policy import MICROSECONDS
from metaproxy.store.counters import Counter, Exchanged, Lent, Return, Taken, Wish, belongs_to

SWEPT_A_CALL = 2
"""Accounts that are looked at in each call, the least recently used first, to forget what has run out."""


class Ledger:
    """Accounts by the key of their counter, at most ``max_counters`` of them.

    If the bound is reached, the account that was used least recently goes, and its consumer starts afresh.

    Args:
        max_counters: how many accounts are kept.
        monotonic: the clock that counts.
    """

    def __init__(self, *, max_counters: int = 100_000, monotonic: Clock = clock.monotonic) -> None:
        self._max_counters = max_counters
        self._monotonic = monotonic
        self._incarnations = count(SystemRandom().getrandbits(48))
        self._accounts: OrderedDict[str, tuple[Counter, Account]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._accounts)

    def hold(self, max_counters: int) -> None:
        """Keep at most ``max_counters`` from now on. The accounts that were used last stay."""
        self._max_counters = max_counters
        while len(self._accounts) > max_counters:
            self._accounts.popitem(last=False)

    def take(self, counters: Sequence[Counter], cost: int = 1, wishes: Sequence[int] = ()) -> Taken:
        """Charge ``cost`` to every counter, or to none if one has no room, and lend beside it.

        A cost of 0 only looks; a negative one takes charges back. ``wishes`` are those of
        ``SharedCounters.take``.
        """
        now = self._now()
        accounts = [self._settled(counter, now) for counter in counters]
        pairs = list(zip(counters, accounts, strict=True))
        if not all(account.fits(counter.policy, cost) for counter, account in pairs):
            return Taken(admitted=False, states=[account.state for account in accounts], now=now)
        for counter, account in pairs:
            account.charge(counter.policy, cost)
        slices = self._lend_alike(pairs, wishes, now)
        for counter, account in pairs:
            self._keep(counter, account, now)
        return Taken(admitted=True, states=[account.state for account in accounts], now=now, slices=slices)

    def exchange(self, returns: Sequence[Return], wishes: Sequence[Wish]) -> Exchanged:
        """Take slices back, then lend new ones: each counter by itself."""
        now = self._now()
        for counter, mark, spent, unused in returns:
            account = self._settled(counter, now)
            account.take_back(counter.policy, mark, spent, unused)
            self._keep(counter, account, now)
        lent = []
        for counter, wanted in wishes:
            account = self._settled(counter, now)
            requests = account.lendable(counter.policy, now, wanted)
            slice_ = (
                account.lend(counter.policy, now, requests, next(self._incarnations)) if requests else None
            )
            self._keep(counter, account, now)
            lent.append(Lent(account.state, slice_))
        return Exchanged(lent, now)

    def reset(self, consumer: str) -> int:
        """Forget every counter of ``consumer`` (``project:a1``); return how many there were.

        Slices that are out may be spent until their lives end, and count nowhere.
        """
        found = [key for key in self._accounts if belongs_to(key, consumer)]
        for key in found:
            del self._accounts[key]
        return len(found)

    def _now(self) -> int:
        return round(self._monotonic() * MICROSECONDS)

    def _lend_alike(
        self, pairs: Sequence[tuple[Counter, Account]], wishes: Sequence[int], now: int
    ) -> Sequence[Slice | None]:
        """Lend the same number of every counter that was asked for some."""
        lendable = [
            account.lendable(counter.policy, now, wish)
            for (counter, account), wish in zip(pairs, wishes, strict=bool(wishes))
            if wish
        ]
        requests = min(lendable, default=0)
        if not requests:
            return ()
        return [
            account.lend(counter.policy, now, requests, next(self._incarnations)) if wish else None
            for (counter, account), wish in zip(pairs, wishes, strict=True)
        ]

    def _settled(self, counter: Counter, now: int) -> Account:
        kept = self._accounts.get(counter.key)
        account = kept[1] if kept is not None else Account()
        account.settle(counter.policy, now)
        return account

    def _keep(self, counter: Counter, account: Account, now: int) -> None:
        if not account.state[0]:
            self._accounts.pop(counter.key, None)
            return
        self._accounts[counter.key] = counter, account
        self._accounts.move_to_end(counter.key)
        self._sweep(now)

    def _sweep(self, now: int) -> None:
        while len(self._accounts) > self._max_counters:
            self._accounts.popitem(last=False)
        for _ in range(SWEPT_A_CALL):
            key, (counter, account) = next(iter(self._accounts.items()))
            account.settle(counter.policy, now)
            if account.state[0]:
                return
            del self._accounts[key]
            if not self._accounts:
                return
