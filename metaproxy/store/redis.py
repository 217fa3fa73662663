"""Counters in Redis, the same for every replica.

All counters of a request are settled, checked and charged by one Lua script in one round trip. What
several requests ask within one turn of the event loop is sent together, so that a busy process needs
far fewer round trips than it has requests.
"""

import asyncio
import os
from collections.abc import Sequence
from hashlib import sha1
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from metaproxy.store.connection import SharedStore
from metaproxy.store.counters import Charge, Taken, belongs_to
from metaproxy.store.unavailable import StoreUnavailable
from metaproxy.tasks import TaskSet

SCRIPT = Path(__file__).with_name("take.lua").read_text(encoding="utf-8")
SCRIPT_SHA = sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()

SCAN_COUNT = 1000

Command = tuple[Any, ...]


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
        self._waiting: list[tuple[Command, asyncio.Future[list[int]]]] = []
        self._tasks = TaskSet()

    @property
    def available(self) -> bool:
        """Whether the store can be asked at all."""
        return self._store.available

    async def take(self, charges: Sequence[Charge], cost: int = 1) -> Taken:
        """Charge ``cost`` to every counter, or to none if one has no room; raises StoreUnavailable."""
        if not charges:
            return Taken(admitted=True, states=(), now=0)
        reply = await self._reply(self._command(charges, cost))
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

    async def close(self) -> None:
        """Leave what is being asked."""
        await self._tasks.cancel()

    async def _reset_page(self, consumer: str, cursor: int) -> tuple[int, int]:
        pattern = f"{self._prefix}*{consumer}*"
        next_cursor, keys = await self._store.call(
            lambda client: client.scan(cursor, match=pattern, count=SCAN_COUNT)
        )
        found = [key for key in map(os.fsdecode, keys) if belongs_to(key, consumer)]
        removed = await self._store.call(lambda client: client.delete(*found)) if found else 0
        return removed, int(next_cursor)

    def _command(self, charges: Sequence[Charge], cost: int) -> Command:
        numbers: list[int] = []
        for charge in charges:
            policy = charge.rule.policy
            numbers += (policy.weight, policy.capacity, policy.pace)
        keys = [self._prefix + charge.key for charge in charges]
        return len(keys), *keys, self._algorithm, cost, *numbers

    def _reply(self, command: Command) -> asyncio.Future[list[int]]:
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._send)
        answered: asyncio.Future[list[int]] = loop.create_future()
        self._waiting.append((command, answered))
        return answered

    def _send(self) -> None:
        batch, self._waiting = self._waiting, []
        self._tasks.start(self._ask(batch), name="store-take")

    async def _ask(self, batch: Sequence[tuple[Command, asyncio.Future[list[int]]]]) -> None:
        commands = [command for command, _ in batch]
        try:
            replies = await self._store.call(lambda client: _run(client, commands))
        except StoreUnavailable as error:
            for _, answered in batch:
                if not answered.done():
                    answered.set_exception(error)
            return
        for (_, answered), reply in zip(batch, replies, strict=True):
            if not answered.done():
                answered.set_result(reply)


async def _run(client: Redis, commands: Sequence[Command]) -> list[list[int]]:
    """Run the script for every one of ``commands``; load it where the server does not know it."""
    try:
        return await _evaluate(client, commands)
    except NoScriptError:
        # Scripts flushed in the middle of a batch would charge its first part twice: too much, once,
        # rather than too little.
        await client.script_load(SCRIPT)
        return await _evaluate(client, commands)


async def _evaluate(client: Redis, commands: Sequence[Command]) -> list[list[int]]:
    pipeline = client.pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command("EVALSHA", SCRIPT_SHA, *command)
    return await pipeline.execute()
