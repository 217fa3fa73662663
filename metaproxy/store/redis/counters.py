"""Counters in Redis, the same for every replica.

All counters of a request are settled, checked and charged by one Lua script in one round trip; the
server knows the script by its SHA from the first time on.
"""

import os
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from hashlib import sha1
from pathlib import Path
from typing import Any

from redis.exceptions import NoScriptError

from metaproxy.store.counters import Charge, Taken, belongs_to
from metaproxy.store.redis.connection import SharedStore
from metaproxy.store.redis.pipe import Part

SCRIPT = Path(__file__).with_name("take.lua").read_text(encoding="utf-8")
SCRIPT_SHA = sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()

SCAN_COUNT = 1000

PROBE_POLICY: tuple[Part, ...] = (1_000_000, 2**50, 1000)
"""Weight, capacity and pace of counters that always have room and end after a millisecond."""


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

    async def take(self, charges: Sequence[Charge], cost: int = 1) -> Taken:
        """Charge ``cost`` to every counter, or to none if one has no room; raises StoreUnavailable."""
        if not charges:
            return Taken(admitted=True, states=(), now=0)
        ask = partial(self._use.ask, again=partial(self._probe, len(charges)))
        reply = await _evaluate(ask, self._arguments(charges, cost))
        states = tuple(zip(reply[2::2], reply[3::2], strict=True))
        return Taken(admitted=reply[0] == 1, states=states, now=reply[1])

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

    def _arguments(self, charges: Sequence[Charge], cost: int) -> list[Part]:
        """The arguments of the script: how many keys, the keys, then what ``take.lua`` says."""
        keys: list[Part] = [self._prefix + charge.key for charge in charges]
        numbers: list[Part] = []
        for charge in charges:
            policy = charge.rule.policy
            numbers += (policy.weight, policy.capacity, policy.pace)
        return [len(keys), *keys, self._algorithm, cost, *numbers]

    def _probe_key(self, number: int) -> str:
        return f"{self._prefix}probe:{number}"

    async def _probe(self, keys: int) -> None:
        """Charge ``keys`` counters that nobody has: the script writes, so it fails wherever a charge does."""
        names = map(self._probe_key, range(keys))
        await _evaluate(self._use.attempt_to_ask, [keys, *names, self._algorithm, 1, *(PROBE_POLICY * keys)])


async def _evaluate(ask: Callable[..., Awaitable[Any]], arguments: Sequence[Part]) -> list[int]:
    """Run the script; send it where the server does not know it."""
    try:
        reply: list[int] = await ask("EVALSHA", SCRIPT_SHA, *arguments)
    except NoScriptError:
        reply = await ask("EVAL", SCRIPT, *arguments)
    return reply
