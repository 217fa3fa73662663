"""Recorded revocations, read and written in the hub."""

from collections.abc import Sequence

from metaproxy.store.hub.client import HubClient
from metaproxy.store.hub.messages import MAX_ENTRIES, Recall, Recalled
from metaproxy.store.hub.messages import Record as RecordAtHub
from metaproxy.store.revocations import Record, Recorded
from metaproxy.store.unavailable import StoreUnavailable


class HubRecord:
    """The revocations that workers have recorded, in the hub. One object reads for one reader.

    Args:
        client: the connection to the hub.
    """

    def __init__(self, client: HubClient) -> None:
        self._client = client
        self._read_until = 0

    async def add(self, entries: Sequence[Recorded]) -> None:
        """Record ``entries``; raises OSError."""
        for begin in range(0, len(entries), MAX_ENTRIES):
            some = entries[begin : begin + MAX_ENTRIES]
            try:
                await self._client.ask(RecordAtHub(tuple((payload, max(age, 0.0)) for payload, age in some)))
            except StoreUnavailable as error:
                raise ConnectionError("the revocations were not recorded") from error

    async def read(self) -> Record:
        """Return the revocations that were recorded since the last reading; raises OSError."""
        is_everything, is_whole = self._read_until == 0, True
        entries: list[Recorded] = []
        until, more = self._read_until, True
        while more:
            page = await self._recall(until)
            entries += [Recorded(payload, age) for payload, age in page.entries]
            is_whole = is_whole and page.is_whole
            until, more = page.until, page.more
        self._read_until = until
        return Record(entries, is_whole=is_whole, is_everything=is_everything)

    async def _recall(self, since: int) -> Recalled:
        try:
            return await self._client.ask_for(Recalled, Recall(since))
        except StoreUnavailable as error:
            raise ConnectionError("the recorded revocations cannot be reached") from error
