"""Counters in Redis, the same for every replica.

All counters of a request are settled, checked and charged by one Lua script in one round trip; the
server knows the script by its SHA from the first time on.
"""

import os
from collections.abc import Sequence
from hashlib import sha1
from pathlib import Path

from redis.exceptions import NoScriptError

from metaproxy.store.counters import Charge, Taken, belongs_to
from metaproxy.store.redis.connection import SharedStore
from metaproxy.store.redis.pipe import Part

SCRIPT = Path(__file__).with_name("take.lua").read_text(encoding="utf-8")
SCRIPT_SHA = sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()

SCAN_COUNT = 1000


class RedisCounters:
    """Counters that all replicas share.

    Args:
        store: the connection; its prefix begins every key.
        algorithm: ``gcra`` or ``fixed-window``; part of the keys, because states of one mean nothing to
            the other.
    """

    def __init__(self, store: SharedStore, *, algorithm: str) -> None:
        self._store = store
        self._algorithm = algorithm
        self._prefix = store.key("rate", algorithm, "")

    @property
    def available(self) -> bool:
        """Whether the store can be asked at all."""
        return self._store.available

    async def take(self, charges: Sequence[Charge], cost: int = 1) -> Taken:
        """Charge ``cost`` to every counter, or to none if one has no room; raises StoreUnavailable."""
        if not charges:
            return Taken(admitted=True, states=(), now=0)
        reply = await self._evaluate(self._arguments(charges, cost))
        states = tuple(zip(reply[2::2], reply[3::2], strict=True))
        return Taken(admitted=reply[0] == 1, states=states, now=reply[1])

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
        next_cursor, keys = await self._store.call(
            lambda client: client.scan(cursor, match=pattern, count=SCAN_COUNT)
        )
        found = [key for key in map(os.fsdecode, keys) if belongs_to(key, consumer)]
        removed = await self._store.call(lambda client: client.delete(*found)) if found else 0
        return removed, int(next_cursor)

    def _arguments(self, charges: Sequence[Charge], cost: int) -> list[Part]:
        """What the script is given: how many keys, the keys, then what ``take.lua`` says."""
        keys: list[Part] = [self._prefix + charge.key for charge in charges]
        numbers: list[Part] = []
        for charge in charges:
            policy = charge.rule.policy
            numbers += (policy.weight, policy.capacity, policy.pace)
        return [len(keys), *keys, self._algorithm, cost, *numbers]

    async def _evaluate(self, arguments: Sequence[Part]) -> list[int]:
        """Run the script; send it where the server does not know it."""
        try:
            reply: list[int] = await self._store.ask("EVALSHA", SCRIPT_SHA, *arguments)
        except NoScriptError:
            reply = await self._store.ask("EVAL", SCRIPT, *arguments)
        return reply
