"""The broadcast over Redis pub/sub: one connection that listens, the store's others to publish.

Redis keeps no message for a connection that is gone, so every break of the listening connection is told
to the subscribers as ``lost``. While it is away it is tried again, each time after a longer pause.
"""

import asyncio
import uuid
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import structlog
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from metaproxy.store.broadcast import Lost, Receive, Unsubscribe
from metaproxy.store.causes import cause_of
from metaproxy.store.redis.connection import SharedStore
from metaproxy.store.unavailable import StoreUnavailable
from metaproxy.tasks import TaskSet

FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.0

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class _Subscription:
    channel: bytes
    receive: Receive
    lost: Lost


class RedisBroadcast:
    """Messages between all processes that share a store. Listens from ``start`` to ``close``.

    Args:
        store: the connection; its prefix begins every channel.
    """

    lossless = False

    def __init__(self, store: SharedStore) -> None:
        self.name = uuid.uuid4().hex
        self._store = store
        self._subscriptions: list[_Subscription] = []
        self._tasks = TaskSet()
        self._pubsub: PubSub | None = None
        self._is_loss_logged = False
        # A store that does not answer may hold messages back for as long as it likes.
        store.on_lost(self._tell_lost)

    async def start(self) -> None:
        """Begin to listen."""
        if not len(self._tasks):
            self._tasks.start(self._listen_for_ever(), name="broadcast-listen")

    async def close(self) -> None:
        """Listen no more."""
        await self._tasks.cancel()

    async def publish(self, channel: str, payload: bytes) -> int:
        """Send ``payload`` to every subscription of ``channel``; raises OSError when it can't be sent.

        Returns how many connections Redis handed it to.
        """
        name = self._channel(channel)
        try:
            return int(await self._store.call(lambda client: client.publish(name, payload)))
        except StoreUnavailable as error:
            raise ConnectionError("the message was not sent") from error

    def subscribe(self, channel: str, receive: Receive, lost: Lost) -> Unsubscribe:
        """Call ``receive`` with every payload on ``channel``, until what is returned is called."""
        subscription = _Subscription(self._channel(channel), receive, lost)
        self._subscriptions.append(subscription)
        if self._pubsub is not None:
            self._tasks.start(self._pubsub.subscribe(subscription.channel), name="broadcast-subscribe")
        return partial(self._unsubscribe, subscription)

    def _unsubscribe(self, subscription: _Subscription) -> None:
        self._subscriptions.remove(subscription)
        heard = {other.channel for other in self._subscriptions}
        # Else Redis would go on to count this connection among those that a message reaches.
        if self._pubsub is not None and subscription.channel not in heard:
            self._tasks.start(_leave(self._pubsub, subscription.channel), name="broadcast-unsubscribe")

    def _channel(self, channel: str) -> bytes:
        return self._store.key("channel", channel).encode()

    def _tell_lost(self) -> None:
        for subscription in tuple(self._subscriptions):
            subscription.lost()

    async def _listen_for_ever(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                async with self._store.client.pubsub() as pubsub:
                    channels = {subscription.channel for subscription in self._subscriptions}
                    # The empty name keeps the connection listening before anybody has subscribed.
                    await pubsub.subscribe(self._channel(""), *channels)
                    self._pubsub, pause = pubsub, FIRST_PAUSE_SECONDS
                    if self._is_loss_logged:
                        self._is_loss_logged = False
                        logger.info("broadcast restored")
                    await self._listen(pubsub)
            except (RedisError, OSError) as error:
                if not self._is_loss_logged:
                    self._is_loss_logged = True
                    reason, detail = cause_of(error)
                    logger.warning("broadcast lost", error=type(error).__name__, reason=reason, detail=detail)
            finally:
                self._pubsub = None
            self._tell_lost()
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _listen(self, pubsub: PubSub) -> None:
        async for message in pubsub.listen():
            if message["type"] == "message":
                for subscription in tuple(self._subscriptions):
                    if subscription.channel == message["channel"]:
                        subscription.receive(message["data"])


async def _leave(pubsub: PubSub, channel: bytes) -> None:
    with suppress(RedisError, OSError):  # a connection that is gone has left already
        await pubsub.unsubscribe(channel)
