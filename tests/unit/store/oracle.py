"""The exact count that leases are held against: each request as it was admitted, each slice with its end.

The oracle sees what a bystander could see: the answers of the store, the verdicts of replicas, and their
reports. All times are true ones, in microseconds; the store's clock is true.

A counter begins a new life whenever the store forgets it. Each life is counted by itself, with all requests
that it has charged or lent, whenever they were admitted. So a restart of the store hides nothing.
"""

from bisect import insort
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from metaproxy.protocol.limits.fixed_window import FixedWindow
from metaproxy.protocol.limits.lending import Slice, life_of
from metaproxy.protocol.limits.policy import MICROSECONDS, UNTOUCHED, Policy, State
from metaproxy.store.counters import Charge, Counter, Return, Taken
from metaproxy.store.holding import SPENDABLE

FEWEST = 4
"""Requests of the smallest slice."""
CLOCK_ERROR = 0.1
"""The part by which the speed of two clocks may differ."""


class Level:
    """The units of one life of a counter, if each request had been charged at the moments that are added."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._moments: list[int] = []
        self._windows: defaultdict[int, int] = defaultdict(int)
        self._state = UNTOUCHED

    def add(self, moment: int, window: int) -> None:
        """Charge a request at ``moment``; a fixed window counts it in ``window``."""
        self._windows[window] += 1
        insort(self._moments, moment)
        if moment < self._state[1]:
            self._replay()
        else:
            self._charge(moment)

    def remove(self, moment: int, window: int) -> None:
        """Take a request back, as if it had never been."""
        self._windows[window] -= 1
        self._moments.remove(moment)
        self._replay()

    def units(self, moment: int, window: int) -> int:
        """Return the units at ``moment``."""
        if isinstance(self._policy, FixedWindow):
            return self._windows[window]
        return self._policy.settle(self._state, moment)[0]

    def most(self, moment: int) -> int:
        """Return the units at ``moment``, or those of the fullest window."""
        if isinstance(self._policy, FixedWindow):
            return max(self._windows.values(), default=0)
        return self.units(moment, 0)

    def __len__(self) -> int:
        """Return how many requests were charged."""
        return len(self._moments)

    def _replay(self) -> None:
        self._state = UNTOUCHED
        for moment in self._moments:
            self._charge(moment)

    def _charge(self, moment: int) -> None:
        amount, since = self._policy.settle(self._state, moment)
        self._state = amount + self._policy.weight, since


class Life:
    """One life of a counter: from when the store first saw it to when it forgot it."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.admitted = Level(policy)
        self.with_lost = Level(policy)
        """With the requests of slices that ended, and were neither spent nor given back."""
        self.grants: list[Grant] = []
        """The slices that have not ended."""

    def add(self, moment: int, window: int) -> None:
        self.admitted.add(moment, window)
        self.with_lost.add(moment, window)

    def remove(self, moment: int, window: int) -> None:
        self.admitted.remove(moment, window)
        self.with_lost.remove(moment, window)

    @property
    def out(self) -> int:
        """Requests of slices that have not ended, and are neither spent nor given back."""
        return sum(grant.out for grant in self.grants)


@dataclass(eq=False, kw_only=True)
class Grant:
    """A slice as the store has lent it, and what became of it."""

    life: Life
    loan: Slice
    window: int
    ends: int
    sent: float
    spent: int = 0
    taken_back: int = 0
    """Requests whose return the store has seen in time."""
    reported_spent: int = 0
    reported_unused: int = 0
    has_ended: bool = False
    is_in_hand: bool = False

    @property
    def out(self) -> int:
        return self.loan.requests - self.spent - self.taken_back

    @property
    def left(self) -> int:
        """Requests that its replica may still admit."""
        return self.loan.requests - self.spent - self.reported_unused

    @property
    def closes(self) -> float:
        """The moment, on its replica's clock, from which on it is not spent."""
        return self.sent + self.loan.seconds * SPENDABLE

    def end(self) -> None:
        self.has_ended = True
        for _ in range(self.out):
            self.life.with_lost.add(self.ends, self.window)

    def unspend(self, moment: int) -> None:
        self.spent -= 1
        self.life.remove(moment, self.window)
        if self.has_ended:
            self.life.with_lost.add(self.ends, self.window)


@dataclass(frozen=True)
class Seen:
    """The true state of a counter when the store answered a replica."""

    life: Life
    moment: int
    out: int
    by_others: int


@dataclass(frozen=True, kw_only=True)
class Learned:
    """A state that a replica was told: as it was at the store at ``moment``."""

    life: Life
    window: int
    moment: int
    sent: float
    arrived: int
    out_elsewhere: int
    before: int
    """How many requests had been admitted by others than this replica's slices."""


@dataclass(eq=False)
class Witness:
    """One replica, as the oracle sees it."""

    grants: defaultdict[str, list[Grant]] = field(default_factory=lambda: defaultdict(list))
    learned: defaultdict[str, list[Learned]] = field(default_factory=lambda: defaultdict(list))
    reserved: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))


class Oracle:
    """Counts exactly, and fails as soon as a guarantee does not hold."""

    def __init__(self) -> None:
        self.now = 0
        self._lives: dict[str, Life] = {}
        self._all: list[Life] = []

    def advance(self, now: int) -> None:
        """Let time pass: slices end."""
        self.now = now
        for life in self._all:
            for grant in [grant for grant in life.grants if now >= grant.ends]:
                life.grants.remove(grant)
                grant.end()

    def forget(self, keys: Sequence[str]) -> None:
        """Note that the store has forgotten these counters."""
        for key in keys:
            self._lives.pop(key, None)

    def life(self, counter: Counter) -> Life:
        """Return the life of a counter that goes on now."""
        if counter.key not in self._lives:
            self._lives[counter.key] = Life(counter.policy)
            self._all.append(self._lives[counter.key])
        return self._lives[counter.key]

    def is_alive(self, life: Life) -> bool:
        """Say whether the store still counts this life."""
        return life in self._lives.values()

    # The store

    def charged(self, counter: Counter, state: State) -> None:
        """Note that the store has admitted a request."""
        self.life(counter).add(self.now, state[1])

    def lent(self, counter: Counter, state: State, loan: Slice, sent: float) -> Grant:
        """Note a slice; check that it is as small and as short as stated."""
        life, policy = self.life(counter), counter.policy
        lasts = life_of(policy)
        free = policy.capacity - state[0] + loan.requests * policy.weight
        grant = Grant(life=life, loan=loan, window=state[1], ends=loan.mark[1], sent=sent)
        life.grants.append(grant)
        assert loan.requests * policy.weight * 8 <= free, "a slice is larger than an eighth of what is free"
        assert loan.requests >= FEWEST, "a slice is too small to be worth its report"
        left = policy.capacity - life.admitted.units(self.now, state[1])
        assert 2 * life.out * policy.weight <= left, "more than a half of what is left is out"
        assert grant.ends - self.now <= lasts * 10 / 8, "a slice is out for too long"
        assert round(loan.seconds * MICROSECONDS) * 9 <= (grant.ends - self.now + 1) * 8, (
            "clocks have no margin"
        )
        return grant

    def taken_back(self, witness: Witness, returns: Sequence[Return]) -> None:
        """Note that these reports have reached the store."""
        for each in returns:
            life, unused = self.life(each.counter), each.unused
            for grant in witness.grants[each.counter.key]:
                if grant.life is life and grant.loan.mark == each.mark and not grant.has_ended:
                    some = min(unused, grant.reported_unused - grant.taken_back)
                    grant.taken_back += some
                    unused -= some

    def answered(self, counter: Counter, state: State) -> None:
        """Check a state that the store says: no less than was admitted, no more than with the slack."""
        life, policy = self.life(counter), counter.policy
        assert state[0] <= policy.capacity
        assert life.admitted.units(self.now, state[1]) <= state[0], "the store counts too few"
        assert state[0] <= self._most(life, state[1], life.out), "the store counts too many"

    # The replicas

    def spent(self, witness: Witness, counter: Counter, replica_now: float) -> Grant:
        """Note a request that is charged to a slice; check that a slice of the replica admits it."""
        usable = [
            grant
            for grant in witness.grants[counter.key]
            if grant.is_in_hand and grant.left and replica_now < grant.closes
        ]
        assert usable, "a request was admitted by no slice"
        grant = min(usable, key=lambda each: each.closes)
        assert replica_now < grant.sent + grant.loan.seconds, "a slice is spent after its life"
        assert self.now < grant.ends, "a slice is spent when the store has given it up"
        if isinstance(counter.policy, FixedWindow):
            assert self.now < grant.window + counter.policy.pace, "a slice outlives its window"
        grant.spent += 1
        grant.life.add(self.now, grant.window)
        return grant

    def reported(self, witness: Witness, returns: Sequence[Return]) -> None:
        """Check that a report says what happened, and nothing twice."""
        for each in returns:
            spent, unused = each.spent, each.unused
            assert spent >= 0
            assert unused >= 0
            for grant in witness.grants[each.counter.key]:
                if grant.loan.mark == each.mark and grant.is_in_hand:
                    some = min(spent, grant.spent - grant.reported_spent)
                    grant.reported_spent += some
                    spent -= some
                    some = min(unused, grant.left)
                    grant.reported_unused += some
                    unused -= some
            assert not spent, "more was reported as spent than was admitted"
            assert not unused, "requests were reported as unused that were admitted, or never lent"

    def seen(self, witness: Witness, counter: Counter, moment: int) -> Seen:
        """Return what the store's answer to a replica rests on."""
        life = self.life(counter)
        return Seen(life, moment, life.out, self._by_others(witness, counter.key, life))

    def learn(
        self, witness: Witness, counter: Counter, state: State, seen: Seen, sent: float, now: float
    ) -> None:
        """Note that a replica was told a state."""
        life = seen.life
        in_hand = sum(
            grant.left
            for grant in witness.grants[counter.key]
            if grant.is_in_hand and grant.life is life and now < grant.closes
        )
        witness.learned[counter.key].append(
            Learned(
                life=life,
                window=state[1],
                moment=seen.moment,
                sent=sent,
                arrived=self.now,
                # What was reserved when the store answered may be out again.
                out_elsewhere=max(seen.out - in_hand, life.out - in_hand, 0),
                before=seen.by_others,
            )
        )

    def told(
        self, witness: Witness, charges: Sequence[Charge], taken: Taken, replica_now: float, asked: float
    ) -> None:
        """Check a verdict: its states are true but for the slack, and one of them explains a refusal."""
        for charge, state in zip(charges, taken.states, strict=True):
            self._check_told(witness, charge.counter, state, replica_now, asked)
        if not taken.admitted:
            waits = [
                each.rule.policy.wait(state, taken.now)
                for each, state in zip(charges, taken.states, strict=True)
            ]
            assert max(waits) > 0, "a refusal says that the request fits"

    def _check_told(
        self, witness: Witness, counter: Counter, state: State, replica_now: float, asked: float
    ) -> None:
        key, policy, life = counter.key, counter.policy, self.life(counter)
        recent = [each for each in witness.learned[key] if each.sent >= min(asked, replica_now) - 1]
        assert recent, "a state is told that is older than a second"
        if any(each.life is not life for each in recent) or any(
            grant.life is not life and replica_now < grant.closes and grant.is_in_hand
            for grant in witness.grants[key]
        ):
            return  # the store has just forgotten the counter
        if isinstance(policy, FixedWindow) and any(
            abs(each.window - state[1]) > policy.pace / 2 or self.now >= each.window + policy.pace
            for each in recent
        ):
            return  # the window has just ended
        # An untouched counter has a window that begins anew each time it is looked at.
        window, oldest = max(each.window for each in recent), min(each.moment for each in recent)
        out = max(each.out_elsewhere for each in recent)
        error = sum((self.now - oldest, max(each.arrived - each.moment for each in recent), 10))
        assert state[0] <= self._most(life, window, out, error), "less room is told than there is"
        unknown = self._by_others(witness, key, life) - min(each.before for each in recent)
        unknown += witness.reserved[key]
        fast = (
            0 if isinstance(policy, FixedWindow) else policy.pace * (CLOCK_ERROR * (self.now - oldest) + 10)
        )
        least = life.admitted.units(self.now, window) - unknown * policy.weight - fast
        assert state[0] >= least, "more room is told than there is"

    def _by_others(self, witness: Witness, key: str, life: Life) -> int:
        own = sum(grant.spent for grant in witness.grants[key] if grant.life is life)
        return len(life.admitted) - own

    # What holds all the time

    def check(self) -> None:
        """Check that no life of a counter has admitted more than its rule allows."""
        for life in self._all:
            assert life.admitted.most(self.now) <= life.policy.capacity, "a rule is exceeded"

    def _most(self, life: Life, window: int, out: int, error: float = 0) -> float:
        """Return the most units that a counter may show: with what is lost, is out, or leaks late."""
        policy = life.policy
        most = life.with_lost.units(self.now, window) + out * policy.weight
        if isinstance(policy, FixedWindow):
            return most
        return most + policy.pace * (life_of(policy) * 10 / 8 + error)
