"""The state that a worker shares through its supervisor."""

import socket

from metaproxy.store.hub.broadcast import HubBroadcast
from metaproxy.store.hub.client import HubClient
from metaproxy.store.hub.counters import HubCounters
from metaproxy.store.hub.revocations import HubRecord
from metaproxy.store.hub.slots import HubSlots


class HubStore:
    """The connection of one worker to the hub. It lives as long as the process, whatever is reloaded.

    Args:
        end: this worker's end of the connection.
    """

    def __init__(self, end: socket.socket) -> None:
        self.client = HubClient(end)
        self.broadcast = HubBroadcast(self.client)

    @property
    def troubles(self) -> list[str]:
        """The reason why the hub cannot be asked, in words; empty if it can."""
        reach = self.client.reach
        return [] if reach.available else [f"the supervisor is away ({reach.trouble})"]

    def counters(self) -> HubCounters:
        """Return the counters in the hub."""
        return HubCounters(self.client)

    def slots(self) -> HubSlots:
        """Return the slots of running requests in the hub."""
        return HubSlots(self.client)

    def revocations(self) -> HubRecord:
        """Return the recorded revocations in the hub, for one reader."""
        return HubRecord(self.client)

    async def start(self) -> None:
        """Connect, unless that is done already."""
        await self.client.start()
        await self.broadcast.start()

    async def wait_for_end(self) -> None:
        """Wait until the connection has ended."""
        await self.client.ended.wait()

    async def close(self) -> None:
        """Disconnect."""
        await self.broadcast.close()
        await self.client.close()
