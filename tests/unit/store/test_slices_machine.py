"""Several replicas with clocks of their own, and messages that are late or lost, against an exact count."""

from typing import NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from metaproxy.protocol.limits.fixed_window import FixedWindow
from metaproxy.protocol.limits.policy import MICROSECONDS, UNTOUCHED, State
from metaproxy.store.counters import Charge, Exchanged, Taken
from metaproxy.store.ledger import Ledger
from metaproxy.store.slices import Report, Slices
from tests.filters.limiting import FakeClock
from tests.unit.store.charges import charge

MOST_REPLICAS = 5


class Replica:
    """Slices, and a clock that runs a little wrong."""

    def __init__(self, clock: FakeClock, speed: float, offset: float) -> None:
        self.slices = Slices()
        self._clock = clock
        self._speed = speed
        self._offset = offset

    def now(self) -> float:
        return self._clock() * self._speed + self._offset


class Asked(NamedTuple):
    """A message that is on its way, to the store or back."""

    replica: Replica
    charges: tuple[Charge, ...]
    wishes: tuple[int, ...]
    report: Report | None
    sent: float
    answer: Taken | Exchanged | None = None


class Replicas(RuleBasedStateMachine):
    """The invariant: what was admitted fits a bucket, or a window, that was filled as it was admitted."""

    algorithm: str

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.clock.seconds = 1_000_000.0
        self.ledger = Ledger(monotonic=self.clock)
        self.charges = [
            charge("wide", 200, period_seconds=60, algorithm=self.algorithm),
            charge("narrow", 90, period_seconds=1, algorithm=self.algorithm),
        ]
        self.replicas: list[Replica] = []
        self.to_store: list[Asked] = []
        self.to_replica: list[Asked] = []
        self.exact: dict[str, State] = {}
        self.extra: dict[str, int] = {}

    @initialize(
        clocks=st.lists(
            st.tuples(st.floats(0.95, 1.05), st.floats(0, 1000)), min_size=1, max_size=MOST_REPLICAS
        )
    )
    def begin(self, clocks: list[tuple[float, float]]) -> None:
        self.replicas = [Replica(self.clock, *each) for each in clocks]

    @rule(which=st.integers(0), chosen=st.sampled_from([(0,), (1,), (0, 1)]), times=st.integers(1, 30))
    def ask(self, which: int, chosen: tuple[int, ...], times: int) -> None:
        replica = self.replicas[which % len(self.replicas)]
        charges = tuple(self.charges[index] for index in chosen)
        for _ in range(times):
            now = replica.now()
            taken = replica.slices.take(charges, now)
            if taken is None:
                wishes = tuple(replica.slices.wishes(charges, now))
                self.to_store.append(Asked(replica, charges, wishes, None, now))
            elif taken.admitted:
                self._admit(charges, by_slice=True)

    @rule(
        which=st.integers(0),
        chosen=st.sampled_from([(0,), (1,), (0, 1)]),
        times=st.sampled_from([3, 20, 150]),
    )
    def ask_without_delay(self, which: int, chosen: tuple[int, ...], times: int) -> None:
        for _ in range(times):
            before = len(self.to_store)
            self.ask(which, chosen, 1)
            if len(self.to_store) > before:
                self.deliver(-1)
                self.reply(-1)
            self.report(which)
            if len(self.to_store) > before:
                self.deliver(-1)
                self.reply(-1)

    @rule(which=st.integers(0))
    def report(self, which: int) -> None:
        replica = self.replicas[which % len(self.replicas)]
        now = replica.now()
        replica.slices.close_due(now)
        if replica.slices.is_due:
            report = replica.slices.collect(10, now)
            self.to_store.append(Asked(replica, (), (), report, now))

    @precondition(lambda self: self.to_store)
    @rule(which=st.integers(0))
    def deliver(self, which: int) -> None:
        asked = self.to_store.pop(which % len(self.to_store))
        answer: Taken | Exchanged
        if asked.report is not None:
            answer = self.ledger.exchange(*asked.report)
        else:
            answer = self.ledger.take([each.counter for each in asked.charges], 1, asked.wishes)
            if answer.admitted:
                self._admit(asked.charges)
        self.to_replica.append(asked._replace(answer=answer))

    @precondition(lambda self: self.to_replica)
    @rule(which=st.integers(0))
    def reply(self, which: int) -> None:
        asked = self.to_replica.pop(which % len(self.to_replica))
        slices, now = asked.replica.slices, asked.replica.now()
        match asked.answer:
            case Taken():
                slices.learn(asked.charges, asked.wishes, asked.answer, asked.sent, now)
            case Exchanged() if asked.report is not None:
                slices.exchanged(asked.report, asked.answer, asked.sent, now)

    @precondition(lambda self: self.to_store)
    @rule(which=st.integers(0))
    def lose_a_message(self, which: int) -> None:
        self._lose(self.to_store.pop(which % len(self.to_store)))

    @precondition(lambda self: self.to_replica)
    @rule(which=st.integers(0))
    def lose_a_reply(self, which: int) -> None:
        self._lose(self.to_replica.pop(which % len(self.to_replica)))

    @rule(seconds=st.one_of(st.floats(0, 0.05), st.floats(0, 0.7), st.floats(0.7, 4), st.just(61.0)))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(which=st.integers(0))
    def kill_a_replica(self, which: int) -> None:
        dead = self.replicas[which % len(self.replicas)]
        dead.slices = Slices()
        self.to_replica = [asked for asked in self.to_replica if asked.replica is not dead]

    @precondition(lambda self: not self.extra)
    @rule()
    def restart_the_store(self) -> None:
        """It forgets everything, once. Slices that are out, at most a half, may be spent beside."""
        self.to_replica.clear()
        self.exact.clear()
        self.extra = {each.key: each.rule.policy.capacity // 2 for each in self.charges}
        self.ledger = Ledger(monotonic=self.clock)

    @invariant()
    def no_rule_is_exceeded(self) -> None:
        for each in self.charges:
            amount, _ = self.exact.get(each.key, UNTOUCHED)
            assert amount <= each.rule.policy.capacity + self.extra.get(each.key, 0)

    def _lose(self, asked: Asked) -> None:
        if asked.report is not None:
            asked.replica.slices.exchanged(asked.report, None, asked.sent, asked.replica.now())

    def _admit(self, charges: tuple[Charge, ...], *, by_slice: bool = False) -> None:
        now = round(self.clock() * MICROSECONDS)
        for each in charges:
            policy = each.rule.policy
            amount, since = self.exact.get(each.key, UNTOUCHED)
            if isinstance(policy, FixedWindow):
                # Windows are those of the store: a request of a slice must fall into the one that lent it.
                _, begun = self.ledger.take([each.counter], cost=0).states[0]
                if not self.extra.get(each.key):
                    assert begun == since or not by_slice
                amount = amount if begun == since else 0
                since = begun
            else:
                amount, since = policy.settle((amount, since), now)
            self.exact[each.key] = amount + policy.weight, since


@pytest.mark.parametrize("algorithm", ["gcra", "fixed-window"])
def test_replicas_together_never_admit_more_than_the_rule(algorithm: str) -> None:
    machine = type("Machine", (Replicas,), {"algorithm": algorithm})
    case = machine.TestCase  # type: ignore[attr-defined]
    case.settings = settings(max_examples=40, stateful_step_count=50, deadline=None)
    case("runTest").runTest()
