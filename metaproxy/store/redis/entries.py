"""Shared entries in Redis.

The generation of a tag is a random word in the store. So forgetting a tag is to delete one word, however many
entries have it; and an entry made from what was read before the tag was forgotten never counts, however late
it is stored, because a generation that the store has lost gets a new random word. A store that has no memory
left takes no entry and no word, but it deletes: it forgets entries and revives none.

A server that refuses to delete (a read-only replica, a user without the permission) cannot forget an entry.
So each reading deletes a key that never exists, in the same round trip: an entry counts only if the server
that has it would have forgotten it.

A server that becomes the primary may lack the last writes of the former one, and so have a generation that
was deleted there. So each configuration epoch of the sentinels has generations of its own: after a failover,
no entry from before it counts. Behind a fixed address there is no epoch.

The number of times that entries were forgotten is read with each entry, in the same round trip.
"""

import secrets
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec
from redis.asyncio import Redis

from metaproxy.store.entries import EVERYTHING, MOST_TIMES, Found, Generations
from metaproxy.store.redis.connection import SharedStore
from metaproxy.store.redis.connections import Command
from metaproxy.store.unavailable import StoreUnavailable

T = TypeVar("T")

MAX_ENTRY_SECONDS = 86_400
GENERATION_SECONDS = 2 * MAX_ENTRY_SECONDS

COUNT = """
local stored = redis.pcall('GET', KEYS[1])
local times = type(stored) == 'string' and tonumber(stored) or 0
if not (times >= 0 and times < 2 ^ 53) then times = 0 end
times = math.max(math.floor(times) + 1, tonumber(ARGV[1]))
redis.call('SET', KEYS[1], string.format('%.0f', times), 'EX', ARGV[2])
return string.format('%.0f', times)
"""
"""Counts one more time, to at least ARGV[1]; what is no number counts as 0."""


class RedisEntries:
    """Shared entries in Redis.

    Args:
        store: the connection; its prefix begins every key.
    """

    def __init__(self, store: SharedStore) -> None:
        self.times = 0
        self._store = store
        self._times = store.key("times-forgotten")
        self._use = store.use("entries")
        self._probe = store.key("entry", "probe")
        self._nothing = store.key("generation", "")

    async def get(self, key: bytes, tags: Sequence[str]) -> Found:
        """Return the entry under ``key``, if it counts: one round trip where all generations are known."""
        known = self.times  # a reply that is under way may be older than what is heard meanwhile
        reply: list[Any] = await self._call(
            lambda client: self._read(client, self._entry(key), self._times, *self._generations(tags)),
            again=lambda client: self._read(client, *([self._probe] * (2 + len(tags)))),
        )
        content, times, *generations = reply
        if _number(times) < known:
            await self.forget((EVERYTHING,))
            raise ConnectionError("the data of the store went back in time")
        self.times = max(self.times, _number(times))
        if None in generations:
            return Found(
                None,
                await self._call(
                    lambda client: _make_generations(client, self._generations(tags)),
                    again=self._write_probe,
                ),
            )
        return Found(_content(content, generations), tuple(generations))

    async def put(self, key: bytes, content: bytes, found: Found, seconds: float) -> None:
        """Store ``content`` for ``seconds``, at most a day."""
        value = msgspec.msgpack.encode((found.generations, content))
        milliseconds = int(min(seconds, MAX_ENTRY_SECONDS) * 1000)
        if milliseconds > 0:
            await self._call(
                lambda client: client.set(self._entry(key), value, px=milliseconds), again=self._write_probe
            )

    async def forget(self, tags: Sequence[str]) -> None:
        """Let no entry with any of ``tags`` count from now on."""
        known = self.times
        times = await self._forget(tags, 0)
        if times is not None and times <= known:  # the store was behind
            times = await self._forget((EVERYTHING,), self.times + 1)
        self.times = max(self.times, times or 0)

    async def _forget(self, tags: Sequence[str], least: int) -> int | None:
        """Forget, and return how often that was done, at least ``least``; None if the store cannot count."""
        try:
            return await self._use.insist(
                lambda client: _forget_generations(client, self._generations(tags), self._times, least),
                again=self._delete_probe,
            )
        except StoreUnavailable as error:
            raise ConnectionError("the shared entries cannot be reached") from error

    async def _read(self, client: Redis, *names: str | bytes) -> list[Any]:
        pipeline = client.pipeline(transaction=False)
        pipeline.delete(self._nothing)
        pipeline.mget(*names)
        deleted, values = await pipeline.execute(raise_on_error=False)
        for reply in (deleted, values):
            if isinstance(reply, Exception):
                raise reply
        return list(values)

    def _entry(self, key: bytes) -> bytes:
        return self._store.key("entry", "").encode() + key

    def _generations(self, tags: Sequence[str]) -> list[str]:
        """The names of the generations of ``tags`` at the primary in use: ask once the client is given."""
        epoch = self._store.connections.epoch
        kind = f"generation@{epoch}" if epoch else "generation"
        return [self._store.key(kind, tag) for tag in tags]

    async def _write_probe(self, client: Redis) -> None:
        await client.set(self._probe, b"", px=1)

    async def _delete_probe(self, client: Redis) -> None:
        await client.delete(self._nothing)

    async def _call(self, command: Command[T], again: Command[object]) -> T:
        try:
            return await self._use.call(command, again=again)
        except StoreUnavailable as error:
            raise ConnectionError("the shared entries cannot be reached") from error


async def _make_generations(client: Redis, names: Sequence[str]) -> Generations:
    pipeline = client.pipeline(transaction=False)
    for name in names:
        pipeline.set(name, secrets.token_bytes(8), ex=GENERATION_SECONDS, nx=True)
    pipeline.mget(*names)
    *_, generations = await pipeline.execute()
    return tuple(generation or b"" for generation in generations)


async def _forget_generations(client: Redis, names: Sequence[str], count: str, least: int) -> int | None:
    """Delete the generations; make new ones and count in the same round trip if the store takes that.

    The count comes last: who reads it reads no deleted generation.
    """
    pipeline = client.pipeline(transaction=False)
    pipeline.delete(*names)
    for name in names:
        pipeline.set(name, secrets.token_bytes(8), ex=GENERATION_SECONDS)
    pipeline.eval(COUNT, 1, count, str(least), str(GENERATION_SECONDS))
    deleted, *_, times = await pipeline.execute(raise_on_error=False)
    if isinstance(deleted, Exception):
        raise deleted
    return None if isinstance(times, Exception) else _number(times)


def _number(times: object) -> int:
    """Return the number that the store has; 0 for anything else."""
    if isinstance(times, bytes) and times.isdigit() and len(times) < 20:
        return min(int(times), MOST_TIMES)
    return 0


def _content(value: bytes | None, generations: Sequence[bytes]) -> bytes | None:
    if value is None:
        return None
    try:
        made_with, content = msgspec.msgpack.decode(value, type=tuple[tuple[bytes, ...], bytes])
    except msgspec.DecodeError:
        return None
    return content if made_with == tuple(generations) else None
