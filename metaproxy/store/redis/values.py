"""Shared values in Redis.

One script reads several values and the server's clock in one round trip. It takes no more of a value than a
reader wants, and takes a key of another type for one without a value: so whoever has written what nobody can
use has harmed that value alone.

The script writes first what is like the record of a revocation, and removes it. A server that would not take
a record (it is full, read-only, or refuses its user) gives no value either, because what was revoked
meanwhile may not be recorded.
"""

import secrets
from collections.abc import Sequence
from functools import partial

import msgspec
from redis.exceptions import RedisError

from metaproxy.store.redis.connection import Again, SharedStore
from metaproxy.store.redis.pipe import Part
from metaproxy.store.unavailable import StoreUnavailable
from metaproxy.store.values import Reading

SCRIPT = """\
redis.call('ZADD', KEYS[1], 0, '')
redis.call('DEL', KEYS[1])
local reply = redis.call('TIME')
for number = 2, #KEYS do
  local value = redis.pcall('GETRANGE', KEYS[number], 0, ARGV[1])
  reply[#reply + 1] = type(value) == 'string' and value or ''
end
return reply"""


class RedisValues:
    """Values in Redis that all replicas share.

    Args:
        store: the connection; its prefix begins every key.
        kind: what the values are: the next part of every key.
        max_bytes: what is read of a value, and one byte more, so that its reader notices.
    """

    def __init__(self, store: SharedStore, kind: str, *, max_bytes: int) -> None:
        self._use = store.use(f"{kind}s")
        self._prefix = store.key(kind, "")
        self._probe = store.key(kind, "probe")
        self._own_probe = store.key(kind, "probe", secrets.token_hex(8))
        self._max_bytes = max_bytes

    async def read(self, names: Sequence[str]) -> Reading:
        """Return the values of ``names``: one round trip."""
        keys = [self._own_probe, *map(self._key, names)]
        reply = await self._ask("EVAL", SCRIPT, len(keys), *keys, self._max_bytes)
        try:
            seconds, microseconds, *values = msgspec.convert(reply, list[bytes])
            time = int(seconds) + int(microseconds) / 1_000_000
        except (msgspec.ValidationError, ValueError, OverflowError):
            raise ConnectionError("the server answered with something else") from None
        if len(values) != len(names):
            raise ConnectionError("the server answered with something else")
        return Reading([value or None for value in values], time)

    async def write(self, name: str, value: bytes, seconds: float) -> None:
        """Store ``value`` for ``seconds``, to the millisecond below; for less than one, do not."""
        milliseconds = int(seconds * 1000)
        if milliseconds > 0:
            probe = partial(self._use.attempt_to_ask, "SET", self._probe, b"", "PX", 1)
            await self._ask("SET", self._key(name), value, "PX", milliseconds, again=probe)

    async def remove(self, names: Sequence[str]) -> None:
        """Remove the values of ``names``."""
        probe = partial(self._use.attempt_to_ask, "DEL", self._probe)
        await self._ask("DEL", *map(self._key, names), again=probe)

    def _key(self, name: str) -> str:
        return self._prefix + name

    async def _ask(self, *command: Part, again: Again | None = None) -> object:
        try:
            return await self._use.ask(*command, again=again)
        except (StoreUnavailable, RedisError) as error:
            raise ConnectionError("the shared values cannot be reached") from error
