"""The broadcast among the workers of one supervisor.

The hub answers in order. So when the answer to a beat comes, all that was published before the beat has been
received. The leases of ``store.broadcast`` hold as they do over Redis: a worker that was stopped for a while
trusts nothing until a beat has come back.
"""

import asyncio
import uuid
from contextlib import suppress
from functools import partial

from metaproxy import clock
from metaproxy.clock import Clock
from metaproxy.store.broadcast import LEASE_SECONDS, Confirm, Lost, Receive, Unsubscribe, ignore
from metaproxy.store.hub.client import Answered, HubClient
from metaproxy.store.hub.messages import Beat, Number, Publish, Subscribe
from metaproxy.store.hub.messages import Unsubscribe as UnsubscribeAtHub
from metaproxy.store.subscriptions import Subscription, Subscriptions
from metaproxy.store.unavailable import StoreUnavailable
from metaproxy.tasks import TaskSet


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
        self._subscriptions: Subscriptions[str] = Subscriptions()
        client.deliver, client.missed = self._subscriptions.deliver, self._subscriptions.lose
        self._lease_seconds = lease_seconds
        self._monotonic = monotonic
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
            return (await self._client.ask_for(Number, Publish(channel, payload))).count
        except StoreUnavailable as error:
            raise ConnectionError("the message was not sent") from error

    def subscribe(self, channel: str, receive: Receive, lost: Lost, confirm: Confirm = ignore) -> Unsubscribe:
        """Call ``receive`` with every payload on ``channel``, until what is returned is called."""
        subscription = Subscription(channel, receive, lost, confirm)
        self._subscriptions.add(subscription)
        with suppress(StoreUnavailable):  # no beat comes back then, so nothing is confirmed
            self._client.ask(Subscribe(channel), patiently=True).add_done_callback(
                partial(self._subscribed, channel)
            )
        return partial(self._unsubscribe, subscription)

    def _subscribed(self, channel: str, answered: Answered) -> None:
        if not answered.cancelled() and answered.exception() is None:
            self._subscriptions.begin(channel, self._monotonic())

    def _unsubscribe(self, subscription: Subscription[str]) -> None:
        self._subscriptions.remove(subscription)
        if subscription.channel not in self._subscriptions.channels:
            # Otherwise a write would wait for this worker.
            with suppress(StoreUnavailable):
                self._client.ask(UnsubscribeAtHub(subscription.channel), patiently=True)

    async def _beat_for_ever(self) -> None:
        """Beat until the connection ends. One beat is under way at a time, so that none pile up."""
        with suppress(StoreUnavailable):
            while True:
                sent_at = self._monotonic()
                answered = self._ask_beat()
                await asyncio.wait((answered,), timeout=self._lease_seconds)
                if not answered.done():
                    self._subscriptions.lose()
                with suppress(StoreUnavailable):
                    await answered
                    self._subscriptions.confirm(sent_at)
                    await self._subscriptions.pause(self._lease_seconds)

    def _ask_beat(self) -> Answered:
        """Send a beat; raises StoreUnavailable if the connection has ended."""
        # An answer that is overdue says that the supervisor is away, also if no request asks it anything.
        with suppress(StoreUnavailable):
            return self._client.ask(Beat())
        return self._client.ask(Beat(), patiently=True)
