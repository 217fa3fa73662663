"""A network between replicas that a test can cut, and broadcasts over it."""

import asyncio
from dataclasses import dataclass, field

from metaproxy import clock
from metaproxy.clock import Clock
from metaproxy.store.broadcast import Confirm, Lost, Receive, Unsubscribe, ignore


@dataclass
class Network:
    """Hands every message to every broadcast that is connected, in order."""

    broadcasts: "list[NetworkBroadcast]" = field(default_factory=list)

    def broadcast(self, name: str, monotonic: Clock = clock.monotonic) -> "NetworkBroadcast":
        """Return a new connection to the network."""
        self.broadcasts.append(NetworkBroadcast(self, name, monotonic))
        return self.broadcasts[-1]


class NetworkBroadcast:
    """A broadcast that can lose its connection (``cut``), or just stop to listen (``deaf``)."""

    lossless = False

    def __init__(self, network: Network, name: str, monotonic: Clock) -> None:
        self.name = name
        self.connected = True
        self.deaf = False
        self._network = network
        self._monotonic = monotonic
        self._subscriptions: list[tuple[str, Receive, Lost, Confirm]] = []

    async def publish(self, channel: str, payload: bytes) -> int:
        """Send ``payload``; it arrives in the loop's next turn."""
        if not self.connected:
            raise ConnectionError("cut")
        reached = [broadcast for broadcast in self._network.broadcasts if broadcast.connected]
        for broadcast in reached:
            asyncio.get_running_loop().call_soon(broadcast._arrive, channel, payload)
        return len(reached)

    def subscribe(self, channel: str, receive: Receive, lost: Lost, confirm: Confirm = ignore) -> Unsubscribe:
        """Listen."""
        subscription = (channel, receive, lost, confirm)
        self._subscriptions.append(subscription)
        return lambda: self._subscriptions.remove(subscription)

    def cut(self) -> None:
        """Lose the connection, and notice it."""
        self.connected = False
        for _, _, lost, _ in tuple(self._subscriptions):
            lost()

    async def beat(self) -> None:
        """Send itself a heartbeat, and have it back if it is connected and hears."""
        sent_at = self._monotonic()
        await asyncio.sleep(0)  # what was published before arrives before
        if self.connected and not self.deaf:
            for _, _, _, confirm in tuple(self._subscriptions):
                confirm(sent_at)

    def mend(self) -> None:
        """Have the connection again."""
        self.connected = True

    def _arrive(self, channel: str, payload: bytes) -> None:
        if self.deaf:
            return
        for subscribed, receive, *_ in tuple(self._subscriptions):
            if subscribed == channel:
                receive(payload)
