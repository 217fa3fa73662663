"""Shared entries in Redis.

The generation of a tag is a random word in the store. So forgetting a tag is one new word, however many
entries have it; and an entry made from what was read before the tag was forgotten never counts, however late
it is stored. A generation that the store has lost gets a new random word, so that a store which runs out of
memory forgets entries and revives none.
"""

import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import msgspec
from redis.asyncio import Redis

from metaproxy.store.entries import Found, Generations
from metaproxy.store.redis.connection import SharedStore
from metaproxy.store.unavailable import StoreUnavailable

T = TypeVar("T")

MAX_ENTRY_SECONDS = 86_400
GENERATION_SECONDS = 2 * MAX_ENTRY_SECONDS


class RedisEntries:
    """Shared entries in Redis.

    Args:
        store: the connection; its prefix begins every key.
    """

    def __init__(self, store: SharedStore) -> None:
        self._store = store

    async def get(self, key: bytes, tags: Sequence[str]) -> Found:
        """Return the entry under ``key``, if it counts: one round trip where all generations are known."""
        names = [self._generation(tag) for tag in tags]
        reply: list[Any] = await self._call(lambda client: client.mget(self._entry(key), *names))
        content, *generations = reply
        if None in generations:
            return Found(None, await self._call(lambda client: _make_generations(client, names)))
        return Found(_content(content, generations), tuple(generations))

    async def put(self, key: bytes, content: bytes, found: Found, seconds: float) -> None:
        """Store ``content`` for ``seconds``, at most a day."""
        value = msgspec.msgpack.encode((found.generations, content))
        milliseconds = int(min(seconds, MAX_ENTRY_SECONDS) * 1000)
        if milliseconds > 0:
            await self._call(lambda client: client.set(self._entry(key), value, px=milliseconds))

    async def forget(self, tags: Sequence[str]) -> None:
        """Let no entry with any of ``tags`` count from now on."""
        names = [self._generation(tag) for tag in tags]
        await self._call(lambda client: _renew_generations(client, names))

    def _entry(self, key: bytes) -> bytes:
        return self._store.key("entry", "").encode() + key

    def _generation(self, tag: str) -> str:
        return self._store.key("generation", tag)

    async def _call(self, command: Callable[[Redis], Awaitable[T]]) -> T:
        try:
            return await self._store.call(command)
        except StoreUnavailable as error:
            raise ConnectionError("the shared entries cannot be reached") from error


async def _make_generations(client: Redis, names: Sequence[str]) -> Generations:
    pipeline = client.pipeline(transaction=False)
    for name in names:
        pipeline.set(name, secrets.token_bytes(8), ex=GENERATION_SECONDS, nx=True)
    pipeline.mget(*names)
    *_, generations = await pipeline.execute()
    return tuple(generation or b"" for generation in generations)


async def _renew_generations(client: Redis, names: Sequence[str]) -> None:
    pipeline = client.pipeline(transaction=False)
    for name in names:
        pipeline.set(name, secrets.token_bytes(8), ex=GENERATION_SECONDS)
    await pipeline.execute()


def _content(value: bytes | None, generations: Sequence[bytes]) -> bytes | None:
    if value is None:
        return None
    try:
        made_with, content = msgspec.msgpack.decode(value, type=tuple[tuple[bytes, ...], bytes])
    except msgspec.DecodeError:
        return None
    return content if made_with == tuple(generations) else None
