"""The broadcast among the workers of one supervisor.

The hub answers in order. So when the answer to a beat comes, all that was published before the beat has been
received. The leases of ``store.broadcast`` hold as they do over Redis: a worker that was stopped for a while
trusts nothing until a beat has come back.
"""

import asyncio
import math
import uuid
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

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
from metaproxy.store.hub.client import Answered, HubClient
from metaproxy.store.hub.messages import Beat, Number, Publish, Subscribe
from metaproxy.store.hub.messages import Unsubscribe as UnsubscribeAtHub
from metaproxy.store.unavailable import StoreUnavailable
from metaproxy.tasks import TaskSet


@dataclass(slots=True, eq=False)
class _Subscription:
    channel: str
    receive: Receive
    lost: Lost
    confirm: Confirm
    since: float = math.inf
    """The moment from which on the hub sends the messages of the channel."""


class HubBroadcast:
    """Messages between the workers of one supervisor.

    Args:
        client: the connection to the hub. No other object may use its ``deliver`` and ``missed``.
        lease_seconds: how long the connection is trusted after a beat.
        monotonic: the clock of leases.
    """

    lossless = False

    def __init__(
        self,
        client: HubClient,
        *,
        lease_seconds: float = LEASE_SECONDS,
        monotonic: Clock = clock.monotonic,
    ) -> None:
        self.name = uuid.uuid4().hex
        self._client = client
        client.deliver, client.missed = self._deliver, self._lose
        self._lease_seconds = lease_seconds
        self._monotonic = monotonic
        self._subscriptions: list[_Subscription] = []
        self._beat_soon = asyncio.Event()
        self._tasks = TaskSet()

    async def start(self) -> None:
        """Begin to send beats."""
        if not len(self._tasks):
            self._tasks.start(self._beat_for_ever(), name="hub-beat")

    async def close(self) -> None:
        """Stop to send beats."""
        await self._tasks.cancel()

    async def publish(self, channel: str, payload: bytes) -> int:
        """Send ``payload`` to every subscription of ``channel``; raises OSError if it cannot be sent.

        Returns how many workers listen there.
        """
        try:
            answer = await self._client.ask(Publish(channel, payload))
        except StoreUnavailable as error:
            raise ConnectionError("the message was not sent") from error
        return answer.count if isinstance(answer, Number) else 0

    def subscribe(self, channel: str, receive: Receive, lost: Lost, confirm: Confirm = ignore) -> Unsubscribe:
        """Call ``receive`` with every payload on ``channel``, until what is returned is called."""
        subscription = _Subscription(channel, receive, lost, confirm)
        self._subscriptions.append(subscription)
        with suppress(StoreUnavailable):  # no beat comes back then, so nothing is confirmed
            self._client.ask(Subscribe(channel), patiently=True).add_done_callback(
                partial(self._subscribed, subscription)
            )
        return partial(self._unsubscribe, subscription)

    def _subscribed(self, subscription: _Subscription, answered: Answered) -> None:
        is_taken = not answered.cancelled() and answered.exception() is None
        if is_taken and subscription in self._subscriptions:
            subscription.since = self._monotonic()
            subscription.lost()  # what was published before this moment was missed
            self._beat_soon.set()

    def _unsubscribe(self, subscription: _Subscription) -> None:
        self._subscriptions.remove(subscription)
        if all(each.channel != subscription.channel for each in self._subscriptions):
            # Otherwise a write would wait for this worker.
            with suppress(StoreUnavailable):
                self._client.ask(UnsubscribeAtHub(subscription.channel), patiently=True)

    def _deliver(self, channel: str, payload: bytes) -> None:
        for subscription in tuple(self._subscriptions):
            if subscription.channel == channel:
                subscription.receive(payload)

    def _lose(self) -> None:
        for subscription in tuple(self._subscriptions):
            subscription.lost()

    async def _beat_for_ever(self) -> None:
        """Beat until the connection ends. One beat is under way at a time, so that none pile up."""
        with suppress(StoreUnavailable):
            while True:
                sent_at = self._monotonic()
                answered = self._client.ask(Beat(), patiently=True)
                await asyncio.wait((answered,), timeout=self._lease_seconds)
                if not answered.done():
                    self._lose()
                await answered
                self._confirm(sent_at)
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._lease_seconds / BEATS_A_LEASE):
                        await self._beat_soon.wait()
                self._beat_soon.clear()

    def _confirm(self, sent_at: float) -> None:
        for subscription in tuple(self._subscriptions):
            if sent_at >= subscription.since:
                subscription.confirm(sent_at)
