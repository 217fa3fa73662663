"""The interface of a store of counters, with its requests and answers as types."""

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

from metaproxy.protocol.limits.lending import Mark, Slice
from metaproxy.protocol.limits.policy import Policy, State
from metaproxy.protocol.limits.table import CompiledRule


class Counter(NamedTuple):
    """A counter as its store needs it: all numbers that decide are in the policy."""

    key: str
    policy: Policy


class Charge(NamedTuple):
    """One counter that a request would be charged to."""

    key: str
    consumer: str
    rule: CompiledRule

    @property
    def counter(self) -> Counter:
        """The counter, without what a store need not know."""
        return Counter(self.key, self.rule.policy)


class Taken(NamedTuple):
    """The answer to a list of charges: admitted means that all were charged, otherwise none was.

    ``states`` are the counters as they stand now, one a charge, in order; ``now`` is the moment
    (microseconds, on the store's own clock) that they refer to. No states: nothing was counted.
    ``slices`` are what was lent beside the charge, one a charge, or empty if nothing was asked for or lent.
    A state counts requests that are lent as spent.
    """

    admitted: bool
    states: Sequence[State]
    now: int
    slices: Sequence[Slice | None] = ()


class Return(NamedTuple):
    """A report on a slice: ``spent`` requests of it were admitted, and ``unused`` ones never will be.

    A replica reports each request of a slice at most once, and never sends a report again, because the
    first one may have arrived.
    """

    counter: Counter
    mark: Mark
    spent: int
    unused: int


class Wish(NamedTuple):
    """A request to lend up to ``requests`` of a counter."""

    counter: Counter
    requests: int


class Lent(NamedTuple):
    """The answer to a wish: the counter's state, and the slice unless there is too little to lend."""

    state: State
    slice: Slice | None


class Exchanged(NamedTuple):
    """The answer to an exchange: one ``Lent`` a wish, in order; ``now`` as in ``Taken``."""

    lent: Sequence[Lent]
    now: int


_SEPARATOR = re.compile(r"/(?!\d+(?:\+|$))")
"""Between the parts of a key; not the slash of a network, as in ``address:2001:db8::/64``."""

Metered: TypeAlias = tuple[bool, State, int]
"""True if a request was admitted; the counter's state; the moment (microseconds) that this refers to."""

UNCOUNTED = Taken(admitted=True, states=(), now=0)


def belongs_to(key: str, consumer: str) -> bool:
    """Say whether the counter ``key`` counts requests of ``consumer`` (``project:a1``), if not alone."""
    return consumer in consumer_part(key).split("+")


def consumer_part(key: str) -> str:
    """Return the end of ``key`` that names the consumer, or several of them with "+" between."""
    return _SEPARATOR.split(key)[-1]


class SharedCounters(Protocol):
    """Counters that several processes share. Every method may raise StoreUnavailable."""

    @property
    def available(self) -> bool:
        """True if the store can be asked at all."""

    async def take(self, charges: Sequence[Charge], wishes: Sequence[int] = ()) -> Taken:
        """Charge every counter, or none if one has no room.

        ``wishes`` has a number of requests for each charge, or is empty. If the charge is admitted, so many
        are lent beside it, or fewer; 0 asks for none. Either every counter that was asked lends the same
        number, or none lends.
        """

    async def exchange(self, returns: Sequence[Return], wishes: Sequence[Wish]) -> Exchanged:
        """Take slices back, then lend new ones: many counters at once, each by itself."""

    async def give_back(self, charges: Sequence[Charge]) -> None:
        """Take back one charge of each counter."""

    async def peek(self, charges: Sequence[Charge]) -> Taken:
        """Return the counters as they stand, without charging anything."""

    async def reset(self, consumer: str) -> int:
        """Forget every counter of ``consumer``; return how many there were."""

    def meter(self, charge: Charge) -> "SendingMeter":
        """Return the counter of ``charge`` for who charges it again and again."""


class SendingMeter:
    """One counter that is asked again and again. Subclasses send what they have prepared once.

    This class itself sends nothing: to ask takes a task.
    """

    def take(self, _seconds: float) -> Metered | None:
        """Return None: the store must be asked."""
        return None

    def can_take(self, _seconds: float) -> bool:
        """Return False: the store must be asked."""
        return False

    def refusal(self, _seconds: float) -> tuple[State, int] | None:
        """Return None: the store must be asked."""
        return None

    def send(self, receive: Callable[[Any], None]) -> bool:
        """Begin to charge one request; False, and nobody is asked, if that takes a task.

        ``receive`` is called with what ``taken`` reads, in a later turn of the event loop.
        """
        return False

    def taken(self, reply: Any) -> Metered | None:
        """Return what came of what ``send`` has begun; None if nothing did, and it must be asked again."""
        return None
