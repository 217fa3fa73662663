"""Slots of running requests in Redis: one script makes and renews them, ZREM ends them.

Commands go over one pipe, in order, so that a renewal does not make a slot again that ends just now. Without
hiredis, or around a broken connection, it may: such a slot ends with its lease.
"""

import asyncio
from functools import partial
from hashlib import sha1
from pathlib import Path
from typing import Any

from redis.exceptions import NoScriptError

from metaproxy.store.redis.connection import SharedStore
from metaproxy.store.redis.pipe import Part
from metaproxy.store.running import LEASE_SECONDS, Batch, Slot

SCRIPT = Path(__file__).with_name("slots.lua").read_text(encoding="utf-8")
SCRIPT_SHA = sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()

NO_LIMIT = -1


class RedisSlots:
    """The slots of all processes that share a store.

    Args:
        store: the connection; its prefix begins every key.
        lease_seconds: how long a slot counts.
    """

    def __init__(self, store: SharedStore, *, lease_seconds: float = LEASE_SECONDS) -> None:
        self._use = store.use("running")
        self._prefix = store.key("running", "")
        self._lease = int(lease_seconds * 1000)

    @property
    def available(self) -> bool:
        """True if the store can be asked at all."""
        return self._use.available

    async def enter(self, consumer: str, slot: Slot, maximum: int) -> bool:
        """Make ``slot`` if ``consumer`` has fewer than ``maximum``; raises StoreUnavailable."""
        return bool(await self._make(maximum, {consumer: [slot]}))

    async def renew(self, batch: Batch) -> None:
        """Have the slots of ``batch`` count for one more lease; raises StoreUnavailable."""
        if batch:
            await self._make(NO_LIMIT, batch)

    async def leave(self, batch: Batch) -> None:
        """Remove the slots of ``batch``, in one round trip; raises StoreUnavailable."""
        asked = [
            self._use.ask("ZREM", self._prefix + consumer, *slots, again=self._probe)
            for consumer, slots in batch.items()
        ]
        for ended in await asyncio.gather(*asked, return_exceptions=True):
            if isinstance(ended, BaseException):
                raise ended

    async def _make(self, maximum: int, batch: Batch) -> Any:
        keys = [self._prefix + consumer for consumer in batch]
        slots: list[Part] = []
        for each in batch.values():
            slots += (len(each), *each)
        arguments: list[Part] = [len(keys), *keys, maximum, self._lease, *slots]
        ask = partial(self._use.ask, again=self._probe)
        try:
            return await ask("EVALSHA", SCRIPT_SHA, *arguments)
        except NoScriptError:
            return await ask("EVAL", SCRIPT, *arguments)

    async def _probe(self) -> None:
        """Make a slot that nobody has, for a millisecond, and remove one that is not there."""
        key = f"{self._prefix}probe"
        await self._use.attempt_to_ask("EVAL", SCRIPT, 1, key, NO_LIMIT, 1, 1, "probe")
        await self._use.attempt_to_ask("ZREM", key, "another")
