"""Publishing to a server that forgets shared entries, and to nothing else.

PUBLISH is not a write, so a server that has become a replica takes it and reaches its own subscribers alone.
A write goes with each message: DEL of a key that never exists. It is the command that forgets shared entries.
A read-only server refuses it, and so does one whose user lacks the permission; a server without memory takes
it. A message counts as sent only if both commands succeed, although subscribers may receive it in any case.
"""

from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from redis.asyncio import Redis

from metaproxy.store.redis.connection import SharedStore
from metaproxy.store.unavailable import StoreUnavailable

PUBLISH_SECONDS = 0.5
"""A message may take longer than ``store.timeout``: a lost one costs whoever writes a lease."""


class Publisher:
    """Publishes messages.

    Args:
        store: the connection.
    """

    def __init__(self, store: SharedStore) -> None:
        self._seconds = max(store.timeout_seconds, PUBLISH_SECONDS)
        self.use = store.use("messages", timeout_seconds=self._seconds)
        """The use of the store that messages are."""
        self._nothing = store.key("generation", "")
        self._probe = store.key("channel", "").encode()

    async def publish(self, channel: bytes, payload: bytes) -> int:
        """Send ``payload``; return how many connections Redis handed it to; raises StoreUnavailable."""
        return await self.use.insist(
            partial(self._publish, channel=channel, payload=payload),
            again=partial(self._publish, channel=self._probe, payload=b""),
        )

    async def beat(self, channel: bytes, payload: bytes) -> int:
        """Send ``payload`` although the store is away, because it may be back; raises StoreUnavailable."""
        return await self.use.attempt(partial(self._publish, channel=channel, payload=payload))

    async def end_connections(self, numbers: Sequence[int]) -> None:
        """Have the server close its connections with ``numbers``, if the user may do that."""
        with suppress(StoreUnavailable):
            await self.use.attempt(partial(_end_connections, numbers=numbers))

    async def _publish(self, client: Redis, *, channel: bytes, payload: bytes) -> int:
        pipeline = client.pipeline(transaction=False)
        pipeline.delete(self._nothing)
        pipeline.publish(channel, payload)
        written, reached = await pipeline.execute(raise_on_error=False)
        for reply in (written, reached):
            if isinstance(reply, Exception):
                raise reply
        return int(reached)


async def _end_connections(client: Redis, *, numbers: Sequence[int]) -> None:
    pipeline = client.pipeline(transaction=False)
    for number in numbers:
        pipeline.client_kill_filter(_id=str(number))
    await pipeline.execute(raise_on_error=False)
