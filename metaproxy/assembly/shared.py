"""The section ``store``: what replicas share, or its embedded stand-ins."""

from typing import TYPE_CHECKING

from metaproxy.config.model.operations import Store
from metaproxy.identity.shared_tokens import MAX_BYTES
from metaproxy.store.broadcast import Broadcast, LocalBroadcast
from metaproxy.store.counters import SharedCounters
from metaproxy.store.entries import SharedEntries
from metaproxy.store.installed import require_redis
from metaproxy.store.revocations import RevocationRecord
from metaproxy.store.running import Slots
from metaproxy.store.values import SharedValues

if TYPE_CHECKING:
    from metaproxy.store.redis.broadcast import RedisBroadcast
    from metaproxy.store.redis.connection import SharedStore


class Shared:
    """The connection to the shared store and the broadcast over it.

    ``store`` is None where nothing is shared; the broadcast then stays in this process. This class alone
    imports ``metaproxy.store.redis``, and only if a store is configured, because redis is an extra.

    Raises StoreNotInstalled if a store is configured and redis-py is missing or too old.
    """

    def __init__(self, section: Store) -> None:
        self.store: SharedStore | None = None
        self.broadcast: Broadcast = LocalBroadcast()
        self._redis_broadcast: RedisBroadcast | None = None
        if section.url is not None:
            self.store = _store(section, section.url.get_secret_value())
            self.broadcast = self._redis_broadcast = _broadcast(self.store)

    def counters(self, algorithm: str) -> SharedCounters | None:
        """Return the counters of ``algorithm`` in the store; None if nothing is shared."""
        if self.store is None:
            return None
        from metaproxy.store.redis.counters import RedisCounters

        return RedisCounters(self.store, algorithm=algorithm)

    def entries(self) -> SharedEntries | None:
        """Return the stored answers in the store; None if nothing is shared."""
        if self.store is None:
            return None
        from metaproxy.store.redis.entries import RedisEntries

        return RedisEntries(self.store)

    def tokens(self) -> SharedValues | None:
        """Return the tokens in the store; None if nothing is shared."""
        if self.store is None:
            return None
        from metaproxy.store.redis.values import RedisValues

        return RedisValues(self.store, "token", max_bytes=MAX_BYTES)

    def revocations(self) -> RevocationRecord | None:
        """Return the recorded revocations in the store; None if nothing is shared."""
        if self.store is None:
            return None
        from metaproxy.store.redis.revocations import RedisRecord

        return RedisRecord(self.store)

    def slots(self) -> Slots | None:
        """Return the slots of running requests in the store; None if nothing is shared."""
        if self.store is None:
            return None
        from metaproxy.store.redis.slots import RedisSlots

        return RedisSlots(self.store)

    async def start(self) -> None:
        """Connect and listen."""
        if self.store is not None and self._redis_broadcast is not None:
            await self.store.start()
            await self._redis_broadcast.start()

    async def close(self) -> None:
        """Listen no more, and disconnect."""
        if self.store is not None and self._redis_broadcast is not None:
            await self._redis_broadcast.close()
            await self.store.close()


def _store(section: Store, url: str) -> "SharedStore":
    require_redis()
    from metaproxy.store.redis.connection import SharedStore

    return SharedStore(url, timeout_seconds=section.timeout, prefix=section.prefix)


def _broadcast(store: "SharedStore") -> "RedisBroadcast":
    from metaproxy.store.redis.broadcast import RedisBroadcast

    return RedisBroadcast(store)
