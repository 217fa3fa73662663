import pytest

from metaproxy.store.counters import Charge, Taken
from metaproxy.store.ledger import Ledger
from metaproxy.store.slices import Slices
from tests.filters.limiting import FakeClock
from tests.unit.store.charges import charge

ALGORITHMS = pytest.mark.parametrize("algorithm", ["gcra", "fixed-window"])


class Replica:
    """One replica beside a ledger that answers at once."""

    def __init__(self, ledger: Ledger, clock: FakeClock) -> None:
        self.slices = Slices()
        self.asked = 0
        self._ledger = ledger
        self._clock = clock

    def take(self, *charges: Charge) -> Taken:
        now = self._clock()
        taken = self.slices.take(charges, now)
        if taken is None:
            self.asked += 1
            wishes = self.slices.wishes(charges, now)
            taken = self._ledger.take([each.counter for each in charges], 1, wishes)
            self.slices.learn(charges, wishes, taken, now, now)
        return taken

    def exchange(self) -> None:
        now = self._clock()
        self.slices.close_due(now)
        while self.slices.is_due:
            report = self.slices.collect(100, now)
            self.slices.exchanged(report, self._ledger.exchange(*report), now, now)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def ledger(clock: FakeClock) -> Ledger:
    return Ledger(monotonic=clock)


@ALGORITHMS
def test_most_requests_far_from_the_limit_are_decided_without_the_store(
    clock: FakeClock, ledger: Ledger, algorithm: str
) -> None:
    replica = Replica(ledger, clock)
    one = charge(limit=10_000, algorithm=algorithm)
    for _ in range(1000):
        assert replica.take(one).admitted
        replica.exchange()
        clock.advance(0.001)
    assert replica.asked == 2


@ALGORITHMS
def test_a_single_request_borrows_nothing(clock: FakeClock, ledger: Ledger, algorithm: str) -> None:
    one = charge(limit=1000, algorithm=algorithm)
    taken = Replica(ledger, clock).take(one)
    assert (taken.states[0][0], taken.slices) == (one.rule.policy.weight, ())


@ALGORITHMS
def test_one_replica_is_refused_nothing_that_the_rule_allows(
    clock: FakeClock, ledger: Ledger, algorithm: str
) -> None:
    replica = Replica(ledger, clock)
    one = charge(limit=500, period_seconds=86400, algorithm=algorithm)
    admitted = 0
    for _ in range(800):
        admitted += replica.take(one).admitted
        replica.exchange()
    assert admitted == 500


@ALGORITHMS
def test_unused_requests_go_back_in_time(clock: FakeClock, ledger: Ledger, algorithm: str) -> None:
    replica = Replica(ledger, clock)
    one = charge(limit=1000, period_seconds=86400, algorithm=algorithm)
    for _ in range(5):
        replica.take(one)
    closing = replica.slices.next_closing
    assert closing is not None
    clock.seconds = closing
    replica.exchange()
    policy = one.rule.policy
    clock.advance(3)
    assert ledger.take([one.counter], cost=0).states[0][0] <= 5 * policy.weight


@ALGORITHMS
def test_a_slice_is_spent_no_longer_when_the_counter_has_given_it_up(
    clock: FakeClock, ledger: Ledger, algorithm: str
) -> None:
    replica = Replica(ledger, clock)
    one = charge(limit=1000, algorithm=algorithm)
    for _ in range(3):
        replica.take(one)
    assert replica.slices.can_take([one], clock())
    clock.advance(1)
    assert not replica.slices.can_take([one], clock())


@ALGORITHMS
def test_a_refusal_is_remembered_for_a_second_at_most(
    clock: FakeClock, ledger: Ledger, algorithm: str
) -> None:
    replica = Replica(ledger, clock)
    one = charge(limit=2, period_seconds=86400, algorithm=algorithm)
    answers = [replica.take(one) for _ in range(100)]
    assert (replica.asked, [answer.admitted for answer in answers].count(True)) == (2, 2)
    assert one.rule.policy.wait(answers[-1].states[0], answers[-1].now) > 0
    ledger.reset("project:p")
    clock.advance(1.01)
    assert replica.take(one).admitted


def test_a_refusal_ends_when_the_next_request_fits(clock: FakeClock, ledger: Ledger) -> None:
    replica = Replica(ledger, clock)
    one = charge(limit=10, period_seconds=1, algorithm="gcra")
    while replica.take(one).admitted:
        pass
    clock.advance(0.1)
    assert replica.take(one).admitted


@ALGORITHMS
def test_a_request_is_charged_to_all_slices_or_to_none(
    clock: FakeClock, ledger: Ledger, algorithm: str
) -> None:
    replica = Replica(ledger, clock)
    wide, narrow = charge("wide", 1000, algorithm=algorithm), charge("narrow", 3, algorithm=algorithm)
    for _ in range(2):
        replica.take(wide)
    answers = [replica.take(wide, narrow).admitted for _ in range(6)]
    assert answers.count(True) == 3
    replica.slices.give_back()
    replica.exchange()
    assert ledger.take([wide.counter], cost=0).states[0][0] == 5 * wide.rule.policy.weight


def test_a_reset_ends_the_slices_of_its_consumer(clock: FakeClock, ledger: Ledger) -> None:
    replica = Replica(ledger, clock)
    for _ in range(3):
        replica.take(charge(limit=1000))
    replica.slices.reset("project:p")
    assert not replica.slices.can_take([charge(limit=1000)], clock())


def test_no_more_counters_are_held_than_the_bound(clock: FakeClock, ledger: Ledger) -> None:
    slices = Slices(max_holdings=10)
    for number in range(100):
        one = charge(consumer=f"project:{number}")
        slices.learn([one], (), ledger.take([one.counter]), clock(), clock())
    assert len(slices) == 10
