"""Counters in the hub, the same for every worker."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from metaproxy.store.counters import (
    UNCOUNTED,
    Charge,
    Exchanged,
    Lent,
    Metered,
    Return,
    SendingMeter,
    Taken,
    Wish,
)
from metaproxy.store.hub.client import HubClient
from metaproxy.store.hub.frames import MessageError
from metaproxy.store.hub.messages import (
    Charged,
    Lending,
    Number,
    Reset,
    SliceReport,
    SliceWish,
    Swap,
    Take,
    packed,
)
from metaproxy.store.hub.rated import sent_counter

T = TypeVar("T")

COUNTERS_A_MESSAGE = 64
"""The hub answers one message after the other, so those of other workers wait while it does a long one."""


class HubCounters:
    """Counters that all workers share.

    Args:
        client: the connection to the hub.
    """

    def __init__(self, client: HubClient) -> None:
        self._client = client

    @property
    def available(self) -> bool:
        """True if the hub can be asked at all."""
        return self._client.available

    async def take(self, charges: Sequence[Charge], wishes: Sequence[int] = (), cost: int = 1) -> Taken:
        """Charge ``cost`` to every counter, or to none if one has no room; raises StoreUnavailable."""
        if not charges:
            return UNCOUNTED
        request = Take([sent_counter(charge.counter) for charge in charges], cost, wishes)
        return (await self._client.ask_for(Charged, request)).taken

    def meter(self, charge: Charge) -> "HubMeter":
        """Return the counter of ``charge`` for who charges it again and again."""
        return HubMeter(self._client, charge)

    async def exchange(self, returns: Sequence[Return], wishes: Sequence[Wish]) -> Exchanged:
        """Take slices back, then lend new ones, each counter by itself; raises StoreUnavailable."""
        for some in _pieces(returns, COUNTERS_A_MESSAGE):
            reports = [
                SliceReport(sent_counter(counter), mark, spent, unused)
                for counter, mark, spent, unused in some
            ]
            await self._exchange(Swap(reports, ()))
        lent: list[Lent] = []
        now = 0
        for wished in _pieces(wishes, COUNTERS_A_MESSAGE):
            asked = [SliceWish(sent_counter(counter), requests) for counter, requests in wished]
            answer = await self._exchange(Swap((), asked))
            lent += answer.lent
            now = answer.now
        return Exchanged(lent, now)

    async def give_back(self, charges: Sequence[Charge]) -> None:
        """Take back one charge of each counter; raises StoreUnavailable."""
        await self.take(charges, cost=-1)

    async def peek(self, charges: Sequence[Charge]) -> Taken:
        """Return the counters as they stand, without charging anything; raises StoreUnavailable."""
        return await self.take(charges, cost=0)

    async def reset(self, consumer: str) -> int:
        """Forget every counter of ``consumer``; return how many there were. Raises StoreUnavailable."""
        return (await self._client.ask_for(Number, Reset(consumer))).count

    async def _exchange(self, request: Swap) -> Exchanged:
        return (await self._client.ask_for(Lending, request)).exchanged


class HubMeter(SendingMeter):
    """One counter, asked with a question that is packed once.

    Args:
        client: the connection to the hub.
        charge: what is charged to it.
    """

    __slots__ = ("_client", "_question")

    def __init__(self, client: HubClient, charge: Charge) -> None:
        self._client = client
        try:
            self._question = packed(Take([sent_counter(charge.counter)], 1))
        except MessageError:  # no policy of ours, but then the task that asks says so
            self._question = b""

    def send(self, receive: Callable[[Any], None]) -> bool:
        """Begin to charge one request, if the hub can be asked."""
        answered = self._client.send(self._question) if self._question else None
        if answered is None:
            return False
        answered.add_done_callback(receive)
        return True

    def taken(self, reply: Any) -> Metered | None:
        """Return what the hub answered; None if it did not."""
        if reply.cancelled() or reply.exception() is not None or not isinstance(reply.result(), Charged):
            return None
        taken: Taken = reply.result().taken
        return taken.admitted, taken.states[0], taken.now


def _pieces(rows: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
