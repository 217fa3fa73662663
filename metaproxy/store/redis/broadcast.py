"""The broadcast over Redis pub/sub: one connection that listens, the store's others to publish.

Facts this file rests on. Redis keeps no message for a connection that is gone. A connection that listens
sends nothing, so its silent end (a firewall, a host that is gone) is noticed only by what does not come back.
PUBLISH is not a write: a server that was the primary a moment ago takes it and hands it to its own
subscribers alone. The reply to PUBLISH counts the subscribers of that very server.

So every process publishes a heartbeat to itself, on a channel of its own, ``BEATS_A_LEASE`` times a lease:

    the heartbeat comes back             all that was published before it has been received: ``confirm``, if
                                         the server also took the write that went with it
    none came back for a lease           the connection is broken, and opened again
    the server counts no receiver        the connection listens to another server: likewise
    it counts several                    it still has a former connection, which it is told to close
    the server refuses the write         the message counts as not sent, and the connections are closed; a
                                         heartbeat confirms nothing, although it comes back

Each break is announced to the subscribers as ``lost``. The connection is tried again, each time after a
longer pause.
"""

import asyncio
import itertools
import uuid
from collections import OrderedDict, deque
from collections.abc import Awaitable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import structlog
from redis.exceptions import ConnectionError as ConnectionFailed
from redis.exceptions import RedisError

from metaproxy import clock
from metaproxy.clock import Clock
from metaproxy.store.broadcast import (
    BEATS_A_LEASE,
    LEASE_SECONDS,
    Confirm,
    Lost,
    Receive,
    Unsubscribe,
    ignore,
)
from metaproxy.store.causes import cause_of
from metaproxy.store.redis.connection import SharedStore
from metaproxy.store.redis.link import Delivery, Link
from metaproxy.store.redis.publishing import Publisher
from metaproxy.store.subscriptions import Subscription, Subscriptions
from metaproxy.store.unavailable import StoreUnavailable
from metaproxy.tasks import TaskSet

T = TypeVar("T")

FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.0
MAX_FORMER = 16

DEAF = "messages of other replicas do not arrive"

logger = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class _Beat:
    """A heartbeat under way. It confirms when the server has taken it and it has come back."""

    sent_at: float
    is_taken: bool = False
    is_back: bool = False


class RedisBroadcast:
    """Messages between all processes that share a store. Listens from ``start`` to ``close``.

    Args:
        store: the connection; its prefix begins every channel.
        lease_seconds: how long the connection that listens is trusted after a heartbeat.
        monotonic: the clock of leases.
    """

    lossless = False

    def __init__(
        self,
        store: SharedStore,
        *,
        lease_seconds: float = LEASE_SECONDS,
        monotonic: Clock = clock.monotonic,
    ) -> None:
        self.name = uuid.uuid4().hex
        self._store = store
        self._publisher = Publisher(store)
        self._use = self._publisher.use
        self._lease_seconds = lease_seconds
        self._monotonic = monotonic
        self._subscriptions: Subscriptions[bytes] = Subscriptions()
        self._beats: OrderedDict[bytes, _Beat] = OrderedDict()
        self._beat_error: Exception | None = None
        self._lease: asyncio.Timeout | None = None
        self._numbers = itertools.count(1)
        self._own_channel = self._channel(self.name)
        self._tasks = TaskSet()
        self._link: Link | None = None
        self._former: deque[int] = deque(maxlen=MAX_FORMER)
        self._is_in_touch = False
        self._is_loss_logged = False

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
        try:
            return await self._publisher.publish(self._channel(channel), payload)
        except StoreUnavailable as error:
            raise ConnectionError("the message was not sent") from error

    def subscribe(self, channel: str, receive: Receive, lost: Lost, confirm: Confirm = ignore) -> Unsubscribe:
        """Call ``receive`` with every payload on ``channel``, until what is returned is called."""
        subscription = Subscription(self._channel(channel), receive, lost, confirm)
        self._subscriptions.add(subscription)
        self._update()
        return partial(self._unsubscribe, subscription)

    def _unsubscribe(self, subscription: Subscription[bytes]) -> None:
        self._subscriptions.remove(subscription)
        # Else Redis would go on to count this connection among those that a message reaches.
        self._update()

    def _channel(self, channel: str) -> bytes:
        return self._store.key("channel", channel).encode()

    def _wanted(self) -> set[bytes]:
        # The own channel keeps the connection listening before anybody has subscribed.
        return {self._own_channel, *self._subscriptions.channels}

    def _update(self) -> None:
        """Have the connection listen to what is subscribed now; one that is opening does so by itself."""
        if self._link is not None:
            self._tasks.start(self._listen_to_wanted(self._link), name="broadcast-subscribe")

    async def _listen_to_wanted(self, link: Link) -> None:
        try:
            await link.listen_to(self._wanted)
            for channel in tuple(link.confirmed):  # another subscription had the channel already
                self._subscriptions.begin(channel, self._monotonic())
        except (RedisError, OSError):
            link.close()  # the task that reads finds out why

    async def _listen_for_ever(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            self._beat_error = None
            try:
                await self._follow_one()
            except (RedisError, OSError) as error:
                self._log_loss(error)
            if self._is_in_touch:
                self._is_in_touch, pause = False, FIRST_PAUSE_SECONDS
            self._beats.clear()
            self._subscriptions.end()
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _follow_one(self) -> None:
        """Open a connection and listen until it breaks."""
        link = await self._within_lease(self._make_link())
        try:
            await self._within_lease(link.open())
            await self._follow(link)
        finally:
            self._link = None
            if link.id is not None:
                self._former.append(link.id)
            await link.end()

    async def _make_link(self) -> Link:
        return Link(await self._store.connections.make())

    async def _within_lease(self, step: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self._lease_seconds):
                return await step
        except TimeoutError:
            raise ConnectionFailed(f"no connection within {self._lease_seconds:g} s") from None

    async def _follow(self, link: Link) -> None:
        """Read until the connection breaks, or until no heartbeat has come back for a lease."""
        # From here to the end, whoever subscribes is added by ``_update``; those before, by the first call.
        self._link = link
        beating: asyncio.Task[None] | None = None
        try:
            async with asyncio.timeout(self._lease_seconds) as self._lease:
                await link.listen_to(self._wanted)
                while True:
                    delivery = await link.next()
                    if beating is None and delivery[:2] == (b"subscribe", self._own_channel):
                        beating = self._tasks.start(self._beat_for_ever(link), name="broadcast-beat")
                    self._take(delivery)
        except TimeoutError:
            raise ConnectionFailed(
                f"no heartbeat was confirmed within {self._lease_seconds:g} s"
            ) from self._beat_error
        finally:
            if beating is not None:
                beating.cancel()

    def _take(self, delivery: Delivery) -> None:
        """Act on ``delivery``."""
        if delivery.kind == b"subscribe":
            self._subscriptions.begin(delivery.channel, self._monotonic())
        elif delivery.kind == b"message" and delivery.channel == self._own_channel:
            if (beat := self._beats.get(delivery.payload)) is not None:
                beat.is_back = True
                self._confirm_beat(delivery.payload, beat)
        elif delivery.kind == b"message":
            self._subscriptions.deliver(delivery.channel, delivery.payload)

    def _confirm_beat(self, number: bytes, beat: _Beat) -> None:
        if not (beat.is_taken and beat.is_back) or self._beats.pop(number, None) is None:
            return
        if self._lease is not None and not self._lease.expired():
            age = self._monotonic() - beat.sent_at
            self._lease.reschedule(asyncio.get_running_loop().time() + self._lease_seconds - age)
            self._confirm(beat.sent_at)

    def _confirm(self, sent_at: float) -> None:
        self._is_in_touch = True
        self._use.note(DEAF, None)
        if self._is_loss_logged:
            self._is_loss_logged = False
            logger.info("broadcast restored")
        self._subscriptions.confirm(sent_at)

    async def _beat_for_ever(self, link: Link) -> None:
        while True:
            number = b"%d" % next(self._numbers)
            beat = self._beats[number] = _Beat(self._monotonic())
            while len(self._beats) > 2 * BEATS_A_LEASE:
                self._beats.popitem(last=False)
            try:
                reached = await self._publisher.beat(self._own_channel, number)
                if not reached:
                    logger.debug("the connection that listens is at another server")
                    link.close()
                    return
                self._beat_error = None
                beat.is_taken = True
                self._confirm_beat(number, beat)
                if reached > 1 and self._former:
                    # The server has not noticed the end of a connection, and counts it among those that a
                    # write must wait for. It has the own channel twice, so it is the server that gave the
                    # number.
                    former = list(self._former)
                    self._former.clear()
                    await self._publisher.end_connections(former)
            except StoreUnavailable as error:
                self._beat_error = error  # the lease decides
                self._use.note(DEAF, error)
            await self._subscriptions.pause(self._lease_seconds)

    def _log_loss(self, error: Exception) -> None:
        self._use.note(DEAF, self._beat_error or error)
        if not self._is_loss_logged:
            self._is_loss_logged = True
            reason, detail = cause_of(error)
            logger.warning("broadcast lost", error=type(error).__name__, reason=reason, detail=detail)
