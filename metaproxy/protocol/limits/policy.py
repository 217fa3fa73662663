"""The interface of the algorithms: a state, and five questions about it.

A state is two integers, ``(amount, since)``: what has been spent, in units of the policy's own, and a
moment in microseconds. Integers, because a limit must hold exactly: sums of binary fractions drift by
one request in a long burst. The meaning of a state is in the file of its algorithm; one Lua script in
``store/`` says the same to Redis.
"""

from typing import NamedTuple, Protocol

MICROSECONDS = 1_000_000

State = tuple[int, int]
"""The amount spent, and the moment (microseconds) that it refers to."""

UNTOUCHED: State = (0, 0)


class Policy(Protocol):
    """One rate under one algorithm. A ``settled`` state is one that ``settle`` has brought up to now."""

    @property
    def weight(self) -> int:
        """The amount that one request spends, in units."""

    @property
    def capacity(self) -> int:
        """The greatest amount that may be spent, in units."""

    @property
    def pace(self) -> int:
        """A further number that the algorithm needs to settle a state; its file says which."""

    @property
    def horizon(self) -> int:
        """Microseconds after which a state that nobody touches is as good as none."""

    def settle(self, state: State, now: int) -> State:
        """Return ``state`` as it stands at ``now`` (microseconds)."""

    def admit(self, state: State, now: int, cost: int = 1) -> tuple[bool, State]:
        """Settle ``state`` and let ``cost`` requests in if they fit; return whether, and the state then.

        The same as ``settle`` and ``fits``, and adding the cost, in one step for the hot path.
        """

    def standing(self, settled: State, now: int) -> tuple[int, int]:
        """Return how many requests fit, and ``renewal``: what every answer tells."""

    def wait(self, settled: State, now: int, cost: int = 1) -> int:
        """Return the microseconds after which ``cost`` requests fit; 0 where they fit now."""

    def renewal(self, settled: State, now: int) -> int:
        """Return the microseconds after which more fit than now; 0 where nothing is spent."""


class Standing(NamedTuple):
    """The standing of a consumer with one rate: how many requests fit now, and when the next one does."""

    remaining: int
    wait_seconds: int


def fits(policy: Policy, settled: State, cost: int = 1) -> bool:
    """Say whether ``cost`` more requests may be admitted."""
    return settled[0] + cost * policy.weight <= policy.capacity


def remaining(policy: Policy, settled: State) -> int:
    """Return how many requests fit."""
    return max(policy.capacity - settled[0], 0) // policy.weight


def whole_seconds(microseconds: int) -> int:
    """Return ``microseconds`` in seconds, rounded up."""
    return -(-microseconds // MICROSECONDS)


def standing(policy: Policy, settled: State, now: int) -> Standing:
    """Return where a consumer stands, given its settled state."""
    return Standing(remaining(policy, settled), whole_seconds(policy.wait(settled, now)))
