"""Lending: a counter charges requests ahead, so that a replica may admit them without asking.

A **slice** is a number of requests that a counter has lent to one replica, for a short life. The promise of
the algorithm must hold over all replicas although nobody reports when a request of a slice was admitted.

**GCRA.** The counter keeps two amounts: ``amount``, which leaks, and the units of slices that are out, which
do not. A slice leaves the second amount in three ways: the replica reports requests as spent, and they join
``amount`` at that moment; it gives requests back, and they are gone; its life ends, and all of it joins
``amount``, because nobody knows. Charges and loans keep the sum of both amounts within the capacity. So the
promise holds: let a bucket be filled with each request when it was really admitted. A request of a slice is
admitted before it joins ``amount``. A later arrival never makes a bucket emptier. So the real bucket holds at
most ``amount`` and what is out, and never more than the capacity.

**Fixed window.** A request that is charged ahead counts in the window in which it was lent, and the slice
ends with that window. So each window admits at most its limit. A loan never begins a window.

**Clocks.** The counter keeps a slice for an eighth longer than its replica may use it, and the replica counts
from before it asked. So clocks may differ in speed by up to a tenth.

**What lending costs.** A request may be refused that a counter without slices would have admitted. The
difference is at most the sum of three parts. First, the unspent requests of slices that are out: at most half
of what the consumer had left, and none older than ``life``. Second, those that were lost with a replica that
died, until they have leaked. Third, what leaks in a ``life`` and its eighths, because a request joins
``amount`` so much later. ``life`` is at most a second, and at most a sixteenth of the time in which a full
bucket runs empty. A counter that is near its capacity lends nothing. So it is exact as soon as no slice is
out.
"""

from typing import NamedTuple

from metaproxy.protocol.limits.fixed_window import FixedWindow
from metaproxy.protocol.limits.policy import MICROSECONDS, Policy, State

LONGEST_LIFE = MICROSECONDS
"""Microseconds for which a replica may spend a slice, counted from before it asked."""
SHORTEST_LIFE = 20_000
"""A slice that would live shorter is not lent: asking again and again costs more than asking each time."""
LIVES_A_HORIZON = 16

ONE_OF_FREE = 8
"""A slice has at most an eighth of what is free."""
FEWEST = 4
"""Requests. A smaller slice is not lent, so a counter that is nearly full is asked about each request."""

GRANULES = 8
"""Slices end at multiples of an eighth of a life. So a counter keeps few ends, however much it lent."""

Mark = tuple[int, int]
"""The name of a slice at its counter: which incarnation of the counter lent it, and the moment of its end."""


class Slice(NamedTuple):
    """Requests that a counter has charged ahead for one replica.

    ``seconds`` is how long they may be admitted, counted from before the replica asked.
    """

    requests: int
    seconds: float
    mark: Mark


def life_of(policy: Policy) -> int:
    """Return the microseconds for which a slice under ``policy`` may be used; 0 if none is lent."""
    life = min(LONGEST_LIFE, policy.horizon // LIVES_A_HORIZON)
    return life if life >= SHORTEST_LIFE else 0


class Account:
    """One counter that lends. Every method but ``settle`` needs an account that is settled at ``now``.

    ``take.lua`` says the same to Redis.
    """

    __slots__ = ("amount", "born", "lent", "since")

    def __init__(self) -> None:
        self.amount = 0
        self.since = 0
        self.born = 0
        """The incarnation. A slice of an earlier one, which was reset or lost, means nothing to this one."""
        self.lent: dict[int, int] = {}
        """The units of slices that are out, by the moment of their end, the next end first."""

    @property
    def out(self) -> int:
        """The units that are lent."""
        return sum(self.lent.values())

    @property
    def state(self) -> State:
        """The state that a counter without slices would have to have to admit as much as this one."""
        return self.amount + self.out, self.since

    def settle(self, policy: Policy, now: int) -> None:
        """Bring the account up to ``now``: it leaks, a window ends, slices end."""
        if isinstance(policy, FixedWindow):
            total, self.since = policy.settle(self.state, now)
            if not total:
                self.amount = 0
                self.lent.clear()
        latest = (
            now + 2 * LONGEST_LIFE
        )  # a slice that seems to live longer was lent before the clock went back
        for end in [end for end in self.lent if not now < end <= latest]:
            units = self.lent.pop(end)
            if isinstance(policy, FixedWindow):
                self.amount += units
            else:
                moment = min(max(end, self.since), now)
                self.amount, self.since = policy.settle((self.amount, self.since), moment)
                self.amount += units
        if not isinstance(policy, FixedWindow):
            self.amount, self.since = policy.settle((self.amount, self.since), now)

    def fits(self, policy: Policy, cost: int) -> bool:
        """Say whether ``cost`` more requests may be admitted."""
        return self.amount + self.out + cost * policy.weight <= policy.capacity

    def charge(self, policy: Policy, cost: int) -> None:
        """Charge ``cost`` requests that fit, or take a charge back if it is negative."""
        self.amount = max(self.amount + cost * policy.weight, 0)

    def lendable(self, policy: Policy, now: int, wanted: int) -> int:
        """Return how many of ``wanted`` requests the account can lend; 0 if these would be too few."""
        out = self.out
        free = policy.capacity - self.amount - out
        most = min(free // ONE_OF_FREE, (policy.capacity - self.amount) // 2 - out) // policy.weight
        requests = min(wanted, most)
        return requests if requests >= FEWEST and self._life(policy, now) >= SHORTEST_LIFE else 0

    def lend(self, policy: Policy, now: int, requests: int, incarnation: int) -> Slice:
        """Lend ``requests``, which are ``lendable``. No account had the number ``incarnation`` before."""
        life = self._life(policy, now)
        granule = life_of(policy) // GRANULES
        end = -(-(now + life + granule) // granule) * granule
        if isinstance(policy, FixedWindow):
            end = min(end, self.since + policy.pace)
        if not self.lent:
            self.born = incarnation
        self._set_lent(end, self.lent.get(end, 0) + requests * policy.weight)
        return Slice(requests, life / MICROSECONDS, (self.born, end))

    def take_back(self, policy: Policy, mark: Mark, spent: int, unused: int) -> None:
        """Take note that a replica has admitted ``spent`` requests of a slice, and will not use ``unused``.

        A slice that has ended, or was lent by another incarnation, changes nothing.
        """
        born, end = mark
        if born != self.born or end not in self.lent:
            return
        lent = self.lent[end]
        joining = min(spent * policy.weight, lent)
        self.amount += joining
        self._set_lent(end, max(lent - joining - unused * policy.weight, 0))

    def _set_lent(self, end: int, units: int) -> None:
        self.lent[end] = units
        self.lent = {end: units for end, units in sorted(self.lent.items()) if units}

    def _life(self, policy: Policy, now: int) -> int:
        life = life_of(policy)
        if isinstance(policy, FixedWindow):
            # A loan begins no window. It ends before the window does, by the slower of two clocks.
            rest = self.since + policy.pace - now if self.amount else 0
            return min(life, rest * GRANULES // (GRANULES + 1))
        return life
