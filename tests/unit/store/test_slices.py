import pytest

from metaproxy.protocol.limits.policy import remaining
from metaproxy.store.counters import Charge, Taken
from metaproxy.store.ledger import Ledger
from metaproxy.store.slices import Question, Slices
from tests.filters.limiting import FakeClock
from tests.unit.store.charges import charge

ALGORITHMS = pytest.mark.parametrize("algorithm", ["gcra", "fixed-window"])


class Replica:
    """One replica beside a ledger that answers after ``round_trip`` seconds."""

    def __init__(
        self, ledger: Ledger, clock: FakeClock, max_holdings: int = 100, round_trip: float = 0.0
    ) -> None:
        self.slices = Slices(max_holdings)
        self.asked = 0
        self._ledger = ledger
        self._clock = clock
        self._round_trip = round_trip

    def take(self, *charges: Charge) -> Taken:
        now = self._clock()
        taken = self.slices.take(charges, now)
        while taken is None:
            self.asked += 1
            question = self.slices.question(charges, now)
            answer = answer_to(question, self._ledger)
            self._clock.advance(self._round_trip)
            now = self._clock()
            taken = self.slices.answered(question, answer, now)
        return taken

    def exchange(self) -> None:
        now = self._clock()
        self.slices.close_due(now)
        while self.slices.is_due:
            report = self.slices.collect(100, now)
            answer = self._ledger.exchange(*report)
            self._clock.advance(self._round_trip)
            self.slices.exchanged(report, answer, now, self._clock())


def answer_to(question: Question, ledger: Ledger) -> Taken:
    return ledger.take([each.counter for each in question.asked], 1, question.wishes)


def requests_charged(ledger: Ledger, one: Charge) -> float:
    """Return how many requests the ledger counts, those that are lent included."""
    return ledger.take([one.counter], cost=0).states[0][0] / one.rule.policy.weight


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
@pytest.mark.parametrize("requests", [5, 15], ids=["first slice", "renewed slice"])
@pytest.mark.parametrize("round_trip", [0.0, 0.01])
def test_unused_requests_go_back_in_time(
    clock: FakeClock, ledger: Ledger, algorithm: str, requests: int, round_trip: float
) -> None:
    replica = Replica(ledger, clock, round_trip=round_trip)
    one = charge(limit=1000, period_seconds=86400, algorithm=algorithm)
    for _ in range(requests):
        replica.take(one)
        replica.exchange()
    while (closing := replica.slices.next_closing) is not None:
        clock.seconds = closing
        replica.exchange()
    clock.advance(3)
    assert requests_charged(ledger, one) <= requests


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
    replica.slices.close()
    replica.exchange()
    assert ledger.take([wide.counter], cost=0).states[0][0] == 5 * wide.rule.policy.weight


@ALGORITHMS
def test_what_a_replica_has_borrowed_itself_is_told_as_free(
    clock: FakeClock, ledger: Ledger, algorithm: str
) -> None:
    replica = Replica(ledger, clock)
    one = charge(limit=1000, period_seconds=86400, algorithm=algorithm)
    for number in range(1, 200):
        taken = replica.take(one)
        assert remaining(one.rule.policy, taken.states[0]) == 1000 - number
        if number % 7 == 0:
            replica.exchange()


def test_a_slice_that_comes_while_the_store_refuses_admits_the_request(
    clock: FakeClock, ledger: Ledger
) -> None:
    slices = Slices()
    wide, narrow = charge("wide", 1000), charge("narrow", 200)
    [first] = [slices.question([narrow], clock())]
    slices.answered(first, ledger.take([narrow.counter], 1, first.wishes), clock())
    borrows, waits = slices.question([narrow], clock()), slices.question([wide, narrow], clock())
    assert borrows.wishes
    lent = ledger.take([narrow.counter], 1, borrows.wishes)
    while ledger.take([narrow.counter]).admitted:
        pass
    refused = ledger.take([each.counter for each in waits.asked])
    assert not refused.admitted
    slices.answered(borrows, lent, clock())
    assert slices.answered(waits, refused, clock()) is None
    again = slices.question([wide, narrow], clock(), tries=1)
    assert [each.key for each in again.asked] == [wide.key]
    verdict = slices.answered(again, ledger.take([wide.counter]), clock())
    assert verdict is not None
    assert verdict.admitted


def test_counters_with_slices_are_not_asked_about(clock: FakeClock, ledger: Ledger) -> None:
    replica = Replica(ledger, clock)
    wide, narrow = charge("wide", 1000), charge("narrow", 10)
    for _ in range(2):
        replica.take(wide)
    question = replica.slices.question([wide, narrow], clock())
    assert list(question.asked) == [narrow]
    replica.slices.unanswered(question, clock())
    for _ in range(16):
        assert replica.slices.can_take([wide], clock())
        replica.take(wide)
    assert not replica.slices.can_take([wide], clock())


def test_one_question_at_a_time_borrows(clock: FakeClock, ledger: Ledger) -> None:
    replica = Replica(ledger, clock)
    one = charge(limit=1000)
    replica.take(one)
    questions = [replica.slices.question([one], clock()) for _ in range(3)]
    assert [bool(question.wishes) for question in questions] == [True, False, False]
    for question in questions:
        replica.slices.unanswered(question, clock())
    clock.advance(0.5)
    assert replica.slices.question([one], clock()).wishes


def test_a_counter_that_makes_room_for_others_gives_its_slices_back(clock: FakeClock, ledger: Ledger) -> None:
    replica = Replica(ledger, clock, max_holdings=1)
    one, other = charge(limit=1000), charge(limit=1000, consumer="project:q")
    for _ in range(5):
        replica.take(one)
    replica.take(other)
    replica.exchange()
    assert ledger.take([one.counter], cost=0).states[0][0] == 5 * one.rule.policy.weight


def test_slices_that_are_closed_borrow_no_more(clock: FakeClock, ledger: Ledger) -> None:
    replica = Replica(ledger, clock)
    one = charge(limit=1000, period_seconds=86400)
    replica.take(one)
    late = replica.slices.question([one], clock())
    answer = ledger.take([one.counter], 1, late.wishes)
    replica.slices.close()
    replica.slices.answered(late, answer, clock())
    replica.exchange()
    assert ledger.take([one.counter], cost=0).states[0][0] == 2 * one.rule.policy.weight
    assert not replica.slices.question([one], clock()).wishes


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
        question = slices.question([one], clock())
        slices.answered(question, ledger.take([one.counter]), clock())
    assert len(slices) == 10


def asking_twice(
    ledger: Ledger, clock: FakeClock, algorithm: str
) -> tuple[Replica, Charge, Question, Question]:
    """Return a replica that has two questions about one charge: to borrow a slice, and to wait for it."""
    replica = Replica(ledger, clock)
    one = charge(limit=1000, period_seconds=86400, algorithm=algorithm)
    replica.take(one)
    return replica, one, replica.slices.question([one], clock()), replica.slices.question([one], clock())


@ALGORITHMS
def test_an_answer_that_a_later_one_overtook_frees_nothing_that_was_counted_since(
    clock: FakeClock, ledger: Ledger, algorithm: str
) -> None:
    replica, one, borrows, waits = asking_twice(ledger, clock, algorithm)
    earlier = answer_to(waits, ledger)
    clock.advance(0.001)
    replica.slices.answered(borrows, answer_to(borrows, ledger), clock())
    for _ in range(5):
        replica.take(one)
    verdict = replica.slices.answered(waits, earlier, clock())
    assert verdict is not None
    assert remaining(one.rule.policy, verdict.states[0]) == 1000 - 8


@ALGORITHMS
def test_a_slice_whose_answer_was_overtaken_is_told_as_free(
    clock: FakeClock, ledger: Ledger, algorithm: str
) -> None:
    replica, one, borrows, waits = asking_twice(ledger, clock, algorithm)
    earlier = answer_to(borrows, ledger)
    clock.advance(0.001)
    replica.slices.answered(waits, answer_to(waits, ledger), clock())
    verdict = replica.slices.answered(borrows, earlier, clock())
    assert verdict is not None
    assert remaining(one.rule.policy, verdict.states[0]) == 1000 - 3


@ALGORITHMS
def test_a_store_whose_clock_went_back_is_believed_when_it_is_asked_again(
    clock: FakeClock, ledger: Ledger, algorithm: str
) -> None:
    replica = Replica(ledger, clock)
    one = charge(limit=2, period_seconds=86400, algorithm=algorithm)
    while replica.take(one).admitted:
        pass
    clock.advance(2)
    behind = FakeClock()
    behind.seconds = clock() - 3600
    successor = Ledger(monotonic=behind)
    question = replica.slices.question([one], clock())
    verdict = replica.slices.answered(question, answer_to(question, successor), clock())
    assert verdict is not None
    assert verdict.admitted
    assert remaining(one.rule.policy, verdict.states[0]) == 1


def waiting_with_a_slice(replica: Replica, clock: FakeClock, wide: Charge, narrow: Charge) -> Question:
    """Return a question about ``narrow``, after the slice of ``wide`` that it reserved has closed."""
    for _ in range(2):
        replica.take(wide)
    question = replica.slices.question([wide, narrow], clock())
    assert list(question.asked) == [narrow]
    closing = replica.slices.next_closing
    assert closing is not None
    clock.seconds = closing
    replica.exchange()
    return question


@ALGORITHMS
def test_a_request_that_waits_is_counted_once_although_its_slice_closes(
    clock: FakeClock, ledger: Ledger, algorithm: str
) -> None:
    replica = Replica(ledger, clock)
    wide = charge("wide", 1000, period_seconds=86400, algorithm=algorithm)
    narrow = charge("narrow", 100, period_seconds=86400, algorithm=algorithm)
    question = waiting_with_a_slice(replica, clock, wide, narrow)
    replica.take(wide)
    verdict = replica.slices.answered(question, answer_to(question, ledger), clock())
    assert verdict is not None
    assert remaining(wide.rule.policy, verdict.states[0]) == 1000 - 4


@ALGORITHMS
def test_a_refused_request_gives_back_what_it_reserved_although_the_slice_has_closed(
    clock: FakeClock, ledger: Ledger, algorithm: str
) -> None:
    replica = Replica(ledger, clock)
    wide = charge("wide", 1000, period_seconds=86400, algorithm=algorithm)
    narrow = charge("narrow", 1, period_seconds=86400, algorithm=algorithm)
    ledger.take([narrow.counter])
    question = waiting_with_a_slice(replica, clock, wide, narrow)
    replica.slices.answered(question, answer_to(question, ledger), clock())
    replica.exchange()
    clock.advance(3)
    assert requests_charged(ledger, wide) <= 2
