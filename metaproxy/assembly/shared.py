"""The section ``store``: what replicas or workers share, or its embedded stand-ins."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, Protocol

from metaproxy.config.model.operations import Store
from metaproxy.identity.shared_tokens import MAX_BYTES
from metaproxy.store.broadcast import Broadcast, LocalBroadcast
from metaproxy.store.counters import SharedCounters
from metaproxy.store.entries import SharedEntries
from metaproxy.store.hub.shared import HubStore
from metaproxy.store.installed import require_redis
from metaproxy.store.revocations import RevocationRecord
from metaproxy.store.running import Slots
from metaproxy.store.values import SharedValues

if TYPE_CHECKING:
    from metaproxy.store.redis.broadcast import RedisBroadcast
    from metaproxy.store.redis.connection import SharedStore


Sharers = Literal["process", "workers", "replicas"]
"""The processes that share state: this one alone, the workers of its supervisor, or all at one Redis."""


class SharedState(Protocol):
    """The connection to state that several processes share: in a Redis, or in the supervisor."""

    @property
    def troubles(self) -> Sequence[str]:
        """The reasons why it is away, or why a use of it fails, in words; empty if all is well."""
        ...


class Shared:
    """The connection to the state that processes share, and the broadcast over it.

    With ``store.url`` a Redis holds the state. Without it, the hub in the supervisor does if there are
    several workers. Otherwise nothing is shared: ``store`` is None, and the broadcast stays in this process.
    This class alone imports ``metaproxy.store.redis``, and only if a store is configured, because redis is an
    extra.

    Args:
        hub: the connection to the supervisor. The worker closes it.

    Raises StoreNotInstalled if a store is configured and redis-py is missing or too old.
    """

    def __init__(self, section: Store, hub: HubStore | None = None) -> None:
        self._redis: SharedStore | None = None
        self._redis_broadcast: RedisBroadcast | None = None
        self._hub: HubStore | None = None
        self.broadcast: Broadcast = LocalBroadcast()
        if section.url is not None:
            self._redis = _store(section, section.url.get_secret_value())
            self.broadcast = self._redis_broadcast = _broadcast(self._redis)
        elif hub is not None:
            self._hub = hub
            self.broadcast = hub.broadcast

    @property
    def store(self) -> SharedState | None:
        """The connection to the shared state; None if nothing is shared."""
        return self._hub if self._redis is None else self._redis

    @property
    def sharers(self) -> Sharers:
        """The processes that share state."""
        if self._redis is not None:
            return "replicas"
        return "process" if self._hub is None else "workers"

    @property
    def usual_sharing(self) -> Literal["exact", "leased"]:
        """The value of ``limits.sharing`` if it is null."""
        return "leased" if self.sharers == "workers" else "exact"

    def counters(self, algorithm: str) -> SharedCounters | None:
        """Return the shared counters of ``algorithm``; None if nothing is shared."""
        if self._hub is not None:
            return self._hub.counters()
        if self._redis is None:
            return None
        from metaproxy.store.redis.counters import RedisCounters

        return RedisCounters(self._redis, algorithm=algorithm)

    def entries(self) -> SharedEntries | None:
        """Return the stored answers that replicas share; None without a Redis."""
        if self._redis is None:
            return None
        from metaproxy.store.redis.entries import RedisEntries

        return RedisEntries(self._redis)

    def tokens(self) -> SharedValues | None:
        """Return the tokens in the store; None without a Redis."""
        if self._redis is None:
            return None
        from metaproxy.store.redis.values import RedisValues

        return RedisValues(self._redis, "token", max_bytes=MAX_BYTES)

    def revocations(self) -> RevocationRecord | None:
        """Return the recorded revocations that are shared; None if nothing is shared."""
        if self._hub is not None:
            return self._hub.revocations()
        if self._redis is None:
            return None
        from metaproxy.store.redis.revocations import RedisRecord

        return RedisRecord(self._redis)

    def slots(self) -> Slots | None:
        """Return the shared slots of running requests; None if nothing is shared."""
        if self._hub is not None:
            return self._hub.slots()
        if self._redis is None:
            return None
        from metaproxy.store.redis.slots import RedisSlots

        return RedisSlots(self._redis)

    async def start(self) -> None:
        """Connect and listen."""
        if self._hub is not None:
            await self._hub.start()
        if self._redis is not None and self._redis_broadcast is not None:
            await self._redis.start()
            await self._redis_broadcast.start()

    async def close(self) -> None:
        """Stop to listen to the Redis, and disconnect from it."""
        if self._redis is not None and self._redis_broadcast is not None:
            await self._redis_broadcast.close()
            await self._redis.close()


def _store(section: Store, url: str) -> "SharedStore":
    require_redis()
    from metaproxy.store.redis.connection import SharedStore

    return SharedStore(url, timeout_seconds=section.timeout, prefix=section.prefix)


def _broadcast(store: "SharedStore") -> "RedisBroadcast":
    from metaproxy.store.redis.broadcast import RedisBroadcast

    return RedisBroadcast(store)
