"""Taking stored answers out of service that the origin has contradicted."""

from dataclasses import dataclass, field

from starlette.types import Message, Send

from metaproxy.cache.admission import Asked
from metaproxy.cache.collections import Collections
from metaproxy.cache.deliveries import Read
from metaproxy.cache.memory import Key, MemoryStore
from metaproxy.cache.requests import combined
from metaproxy.cache.second_level import SecondLevel
from metaproxy.cache.settings import CacheRoute
from metaproxy.cache.stored import Stored
from metaproxy.clock import Clock
from metaproxy.protocol.caching.superseding import contradicts
from metaproxy.tasks import TaskSet


@dataclass(slots=True, eq=False)
class Withdrawals:
    """Removes what must not be sent any more, wherever it is stored."""

    store: MemoryStore
    collections: Collections
    second_level: SecondLevel | None
    monotonic: Clock
    _tasks: TaskSet = field(init=False, default_factory=TaskSet)

    def withdraw(self, key: Key, route: CacheRoute, asked: Asked, asked_at: float, *, shared: bool) -> None:
        """Remove what the request that was ``asked`` gets under ``key``.

        The origin was asked at ``asked_at`` (monotonic); what it was asked for later stays. An item is
        withdrawn with the collection that would answer for it. ``shared``: at the second level, too.
        """
        keys = [key] if key in self.store else []
        if route.from_collection and (collection := self.collections.of_item(key)) is not None:
            keys.append(collection)
        if keys:
            request = combined(asked.lines)
            for each in keys:
                self.store.withdraw(each, request, asked_at)
        if shared and self.second_level is not None:
            for each in {key, *keys}:
                self._tasks.start(self.second_level.withdraw(each, asked.tags), name="cache withdrawal")

    def watched(self, read: Read, stored: Stored, length: int, method: str, send: Send) -> Send:
        """Return ``send`` for a read that is passed on although ``stored`` is there, of ``length`` bytes.

        The answer to HEAD or to a range is not stored as the whole; but it may contradict what is.
        """
        asked_at = self.monotonic()

        async def watching(message: Message) -> None:
            if message["type"] == "http.response.start" and contradicts(
                message["status"],
                message["headers"],
                stored=stored.fields,
                stored_length=length,
                is_to_head=method == "HEAD",
            ):
                self.withdraw(read.request.key, read.route, read.asked, asked_at, shared=True)
            await send(message)

        return watching

    async def close(self) -> None:
        """Cancel what is under way."""
        await self._tasks.cancel()
