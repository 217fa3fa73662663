"""The subscriptions of one process at a broadcast that may lose messages."""

import asyncio
import math
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from metaproxy.store.broadcast import BEATS_A_LEASE, Confirm, Lost, Receive

C = TypeVar("C", str, bytes)


@dataclass(slots=True, eq=False)
class Subscription(Generic[C]):
    """One receiver of a channel."""

    channel: C
    receive: Receive
    lost: Lost
    confirm: Confirm
    since: float = math.inf
    """The moment from which on the messages of the channel are sent here."""


class Subscriptions(Generic[C]):
    """Those who receive, and the pause between two beats, which ends early for who has just begun."""

    def __init__(self) -> None:
        self._all: list[Subscription[C]] = []
        self._beat_soon = asyncio.Event()

    @property
    def channels(self) -> set[C]:
        """The channels that somebody receives."""
        return {subscription.channel for subscription in self._all}

    def add(self, subscription: Subscription[C]) -> None:
        """Take note of one that the other end does not know yet."""
        self._all.append(subscription)

    def remove(self, subscription: Subscription[C]) -> None:
        """Forget one."""
        self._all.remove(subscription)

    def begin(self, channel: C, now: float) -> None:
        """Take note that the messages of ``channel`` are sent here from ``now`` on."""
        for subscription in tuple(self._all):
            if subscription.channel == channel and subscription.since == math.inf:
                subscription.since = now
                subscription.lost()  # what was published before this moment was missed
                self._beat_soon.set()  # it need not wait for the next beat to be confirmed

    def deliver(self, channel: C, payload: bytes) -> None:
        """Hand ``payload`` to those who receive ``channel``."""
        for subscription in tuple(self._all):
            if subscription.channel == channel:
                subscription.receive(payload)

    def confirm(self, sent_at: float) -> None:
        """Tell those whose messages came before ``sent_at`` that none is missing until then."""
        for subscription in tuple(self._all):
            if sent_at >= subscription.since:
                subscription.confirm(sent_at)

    def lose(self) -> None:
        """Tell all that messages may be missing."""
        for subscription in tuple(self._all):
            subscription.lost()

    def end(self) -> None:
        """Tell all that messages may be missing, and none is sent here any more."""
        for subscription in tuple(self._all):
            subscription.since = math.inf
            subscription.lost()

    async def pause(self, lease_seconds: float) -> None:
        """Wait until the next beat is due."""
        with suppress(TimeoutError):
            async with asyncio.timeout(lease_seconds / BEATS_A_LEASE):
                await self._beat_soon.wait()
        self._beat_soon.clear()
