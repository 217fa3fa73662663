"""Slots of running requests in the hub, the same for every worker."""

from metaproxy.store.hub.client import HubClient
from metaproxy.store.hub.messages import Enter, Leave, Number, Renew
from metaproxy.store.hub.rated import bounded
from metaproxy.store.running import Batch, Slot


class HubSlots:
    """The slots of all workers.

    Args:
        client: the connection to the hub.
    """

    def __init__(self, client: HubClient) -> None:
        self._client = client

    @property
    def available(self) -> bool:
        """True if the hub can be asked at all."""
        return self._client.available

    async def enter(self, consumer: str, slot: Slot, maximum: int) -> bool:
        """Make ``slot`` if ``consumer`` has fewer than ``maximum``; raises StoreUnavailable."""
        made = await self._client.ask_for(Number, Enter(bounded(consumer), slot, maximum))
        return made.count == 1

    async def renew(self, batch: Batch) -> None:
        """Have the slots of ``batch`` count for one more lease; raises StoreUnavailable."""
        if batch:
            await self._client.ask(Renew(_bounded(batch)))

    async def leave(self, batch: Batch) -> None:
        """End the slots of ``batch``; raises StoreUnavailable."""
        if batch:
            await self._client.ask(Leave(_bounded(batch)))


def _bounded(batch: Batch) -> Batch:
    return {bounded(consumer): slots for consumer, slots in batch.items()}
