"""The interface of a store of counters, with its requests and answers as types."""

import re
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from metaproxy.protocol.limits.policy import State
from metaproxy.protocol.limits.table import CompiledRule


class Charge(NamedTuple):
    """One counter that a request would be charged to."""

    key: str
    consumer: str
    rule: CompiledRule


class Taken(NamedTuple):
    """The answer to a list of charges: admitted means that all were charged, otherwise none was.

    ``states`` are the counters as they stand now, one a charge, in order; ``now`` is the moment
    (microseconds, on the store's own clock) that they refer to. No states: nothing was counted.
    """

    admitted: bool
    states: Sequence[State]
    now: int


_SEPARATOR = re.compile(r"/(?!\d+(?:\+|$))")
"""Between the parts of a key; not the slash of a network, as in ``address:2001:db8::/64``."""

UNCOUNTED = Taken(admitted=True, states=(), now=0)


def belongs_to(key: str, consumer: str) -> bool:
    """Say whether the counter ``key`` counts requests of ``consumer`` (``project:a1``), if not alone."""
    return consumer in _SEPARATOR.split(key)[-1].split("+")


class SharedCounters(Protocol):
    """Counters that several processes share. Every method may raise StoreUnavailable."""

    @property
    def available(self) -> bool:
        """True if the store can be asked at all."""

    async def take(self, charges: Sequence[Charge]) -> Taken:
        """Charge every counter, or none if one has no room."""

    async def give_back(self, charges: Sequence[Charge]) -> None:
        """Take back one charge of each counter."""

    async def peek(self, charges: Sequence[Charge]) -> Taken:
        """Return the counters as they stand, without charging anything."""

    async def reset(self, consumer: str) -> int:
        """Forget every counter of ``consumer``; return how many there were."""
