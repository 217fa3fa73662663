"""What a store of counters is asked, and what it answers."""

from typing import NamedTuple

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
    states: tuple[State, ...]
    now: int


UNCOUNTED = Taken(admitted=True, states=(), now=0)
