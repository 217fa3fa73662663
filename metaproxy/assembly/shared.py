"""The section ``store``: what replicas share, or its embedded stand-ins."""

from metaproxy.config.model.operations import Store
from metaproxy.store.broadcast import Broadcast, LocalBroadcast
from metaproxy.store.connection import SharedStore
from metaproxy.store.redis_broadcast import RedisBroadcast


class Shared:
    """The connection to the shared store and the broadcast over it.

    ``store`` is None where nothing is shared; the broadcast then stays in this process.
    """

    def __init__(self, section: Store) -> None:
        self.store: SharedStore | None = None
        self.broadcast: Broadcast = LocalBroadcast()
        self._redis_broadcast: RedisBroadcast | None = None
        if section.url is not None:
            self.store = SharedStore(
                section.url.get_secret_value(), timeout_seconds=section.timeout, prefix=section.prefix
            )
            self.broadcast = self._redis_broadcast = RedisBroadcast(self.store)

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
