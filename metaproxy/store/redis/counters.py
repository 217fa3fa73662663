"""Counters in Redis, the same for every replica.

All counters of a request are settled, checked and charged by one Lua script in one round trip. The same
script lends slices and takes them back. The server knows the script by its SHA from the first time on.
"""

import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from hashlib import sha1
from pathlib import Path
from typing import Any, TypeVar

from redis.exceptions import NoScriptError

from metaproxy.protocol.limits.lending import Slice, life_of
from metaproxy.protocol.limits.policy import MICROSECONDS, State
from metaproxy.store.counters import (
    Charge,
    Counter,
    Exchanged,
    Lent,
    Metered,
    Return,
    SendingMeter,
    Taken,
    Wish,
    belongs_to,
)
from metaproxy.store.redis.connection import Again, SharedStore, StoreUse
from metaproxy.store.redis.pipe import Part, Receive, packed
from metaproxy.store.unavailable import StoreUnavailable

T = TypeVar("T")

SCRIPT = Path(__file__).with_name("take.lua").read_text(encoding="utf-8")
SCRIPT_SHA = sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()

SCAN_COUNT = 1000

PROBE_POLICY: tuple[Part, ...] = (1_000_000, 2**50, 1000)
"""Weight, capacity and pace of counters that always have room and end after a millisecond."""

COUNTERS_A_CALL = 64
"""The script runs alone in the server, so an exchange of more counters than this takes several calls."""

EACH, TOGETHER = 0, 1
"""Each counter lends by itself, or all lend the same number."""

LENT_NUMBERS = 6


class RedisCounters:
    """Counters that all replicas share.

    Args:
        store: the connection; its prefix begins every key.
        algorithm: ``gcra`` or ``fixed-window``; part of the keys, because states of one mean nothing to
            the other.
    """

    def __init__(self, store: SharedStore, *, algorithm: str) -> None:
        self._use = store.use("counters")
        self._algorithm = algorithm
        self._prefix = store.key("rate", algorithm, "")

    @property
    def available(self) -> bool:
        """True if the store can be asked at all."""
        return self._use.available

    async def take(self, charges: Sequence[Charge], wishes: Sequence[int] = (), cost: int = 1) -> Taken:
        """Charge ``cost`` to every counter, or to none if one has no room; raises StoreUnavailable."""
        if not charges:
            return Taken(admitted=True, states=(), now=0)
        if not any(wishes):
            reply = await self._run(self._charge_alone(charges, cost), len(charges))
            return Taken(reply[0] == 1, tuple(zip(reply[2::2], reply[3::2], strict=True)), reply[1])
        asked = _Asked([charge.counter for charge in charges])
        for (key, _, _), wish in zip(charges, wishes, strict=True):
            asked.wishes[key] = wish
        reply = await self._run_long(asked, cost, TOGETHER)
        states, slices = _told(reply, lends=True)
        return Taken(reply[0] == 1, states, reply[1], slices if any(slices) else ())

    def meter(self, charge: Charge) -> "RedisMeter":
        """Return the counter of ``charge`` for who charges it again and again."""
        return RedisMeter(self._use, self._charge_alone([charge], 1), partial(self._probe, 1))

    async def exchange(self, returns: Sequence[Return], wishes: Sequence[Wish]) -> Exchanged:
        """Take slices back, then lend new ones, each counter by itself; raises StoreUnavailable."""
        counters = dict.fromkeys([*(each.counter for each in returns), *(each.counter for each in wishes)])
        lent: dict[str, Lent] = {}
        now = 0
        for some in _pieces(list(counters), COUNTERS_A_CALL):
            asked = _Asked(some)
            for counter, mark, spent, unused in returns:
                if counter.key in asked.returns:
                    asked.returns[counter.key] += (*mark, spent, unused)
            for counter, requests in wishes:
                if counter.key in asked.wishes:
                    asked.wishes[counter.key] = requests
            reply = await self._run_long(asked, 0, EACH)
            now = reply[1]
            states, slices = _told(reply, lends=any(asked.wishes.values()))
            lent |= zip((counter.key for counter in some), map(Lent, states, slices), strict=True)
        return Exchanged([lent[wish.counter.key] for wish in wishes], now)

    async def give_back(self, charges: Sequence[Charge]) -> None:
        """Take back one charge of each counter; raises StoreUnavailable."""
        await self.take(charges, cost=-1)

    async def peek(self, charges: Sequence[Charge]) -> Taken:
        """Return the counters as they stand, without charging anything; raises StoreUnavailable."""
        return await self.take(charges, cost=0)

    async def reset(self, consumer: str) -> int:
        """Forget every counter of ``consumer`` (``project:a1``); return how many there were.

        Looks at every key of the store, a thousand a call: an operator's call, not a request's.
        Raises StoreUnavailable.
        """
        removed, cursor = await self._reset_page(consumer, 0)
        while cursor:
            more, cursor = await self._reset_page(consumer, cursor)
            removed += more
        return removed

    async def _reset_page(self, consumer: str, cursor: int) -> tuple[int, int]:
        pattern = f"{self._prefix}*{consumer}*"
        next_cursor, keys = await self._use.call(
            lambda client: client.scan(cursor, match=pattern, count=SCAN_COUNT)
        )
        found = [key for key in map(os.fsdecode, keys) if belongs_to(key, consumer)]
        removed = (
            await self._use.call(
                lambda client: client.delete(*found), again=lambda client: client.delete(self._probe_key(0))
            )
            if found
            else 0
        )
        return removed, int(next_cursor)

    def _charge_alone(self, charges: Sequence[Charge], cost: int) -> list[Part]:
        """Return the short form of the script's arguments."""
        keys: list[Part] = [self._prefix + charge.key for charge in charges]
        numbers: list[Part] = []
        for charge in charges:
            policy = charge.rule.policy
            numbers += (policy.weight, policy.capacity, policy.pace)
        return [len(keys), *keys, self._algorithm, cost, *numbers]

    async def _run_long(self, asked: "_Asked", cost: int, lending: int) -> list[int]:
        keys: list[Part] = [self._prefix + counter.key for counter in asked.counters]
        arguments = [len(keys), *keys, self._algorithm, cost, lending, *asked.numbers()]
        return await self._run(arguments, len(keys))

    async def _run(self, arguments: Sequence[Part], keys: int) -> list[int]:
        return await _evaluate(partial(self._use.ask, again=partial(self._probe, keys)), arguments)

    def _probe_key(self, number: int) -> str:
        return f"{self._prefix}probe:{number}"

    async def _probe(self, keys: int) -> None:
        """Charge ``keys`` counters that nobody has: the script writes, so it fails wherever a charge does."""
        names = map(self._probe_key, range(keys))
        await _evaluate(self._use.attempt_to_ask, [keys, *names, self._algorithm, 1, *(PROBE_POLICY * keys)])


class RedisMeter(SendingMeter):
    """One counter, asked with a question that is packed once.

    Args:
        use: where it is asked.
        arguments: those of the script, to charge one request.
        probe: finds out whether the server takes such a charge.
    """

    __slots__ = ("_probe", "_question", "_use")

    def __init__(self, use: StoreUse, arguments: Sequence[Part], probe: Again) -> None:
        self._use = use
        self._question = packed("EVALSHA", SCRIPT_SHA, *arguments)
        self._probe = probe

    def send(self, receive: Receive) -> bool:
        """Begin to charge one request, if that takes no task."""
        return self._use.send(self._question, receive)

    def taken(self, reply: Any) -> Metered | None:
        """Return what the script replied; None if it did not run, or nobody knows."""
        try:
            admitted, now, amount, since = self._use.reply(reply, self._probe)
        except (NoScriptError, StoreUnavailable):
            return None
        return admitted == 1, (amount, since), now


class _Asked:
    """The counters of one run of the script, with what is reported and asked of each."""

    def __init__(self, counters: Sequence[Counter]) -> None:
        self.counters = counters
        self.wishes = dict.fromkeys((counter.key for counter in counters), 0)
        self.returns: dict[str, tuple[int, ...]] = dict.fromkeys(self.wishes, ())

    def numbers(self) -> list[Part]:
        numbers: list[Part] = []
        for key, policy in self.counters:
            reports = self.returns[key]
            numbers += (policy.weight, policy.capacity, policy.pace, life_of(policy), self.wishes[key])
            numbers += (len(reports) // 4, *reports)
        return numbers


def _told(reply: Sequence[int], *, lends: bool) -> tuple[tuple[State, ...], list[Slice | None]]:
    """Return the state of each counter, and what it has lent."""
    if not lends:
        states = tuple(zip(reply[2::2], reply[3::2], strict=True))
        return states, [None] * len(states)
    rows = list(_pieces(reply[2:], LENT_NUMBERS))
    return tuple((row[0], row[1]) for row in rows), [_slice(*row[2:]) for row in rows]


def _slice(requests: int, life: int, born: int, end: int) -> Slice | None:
    return Slice(requests, life / MICROSECONDS, (born, end)) if requests else None


def _pieces(rows: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


async def _evaluate(ask: Callable[..., Awaitable[Any]], arguments: Sequence[Part]) -> list[int]:
    """Run the script; send it where the server does not know it."""
    try:
        reply: list[int] = await ask("EVALSHA", SCRIPT_SHA, *arguments)
    except NoScriptError:
        reply = await ask("EVAL", SCRIPT, *arguments)
    return reply
