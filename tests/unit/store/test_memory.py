import pytest

from metaproxy.store.memory import MemoryCounters
from tests.filters.limiting import FakeClock
from tests.unit.store.charges import charge


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.mark.parametrize("algorithm", ["gcra", "fixed-window"])
def test_as_many_as_the_limit_are_admitted(clock: FakeClock, algorithm: str) -> None:
    counters = MemoryCounters(monotonic=clock)
    verdicts = [counters.take([charge(algorithm=algorithm)]).admitted for _ in range(5)]
    assert verdicts == [True, True, True, False, False]


def test_one_counter_without_room_leaves_all_uncharged(clock: FakeClock) -> None:
    counters = MemoryCounters(monotonic=clock)
    wide, narrow = charge("wide", 10), charge("narrow", 1)
    counters.take([wide, narrow])
    refused = counters.take([wide, narrow])
    assert not refused.admitted
    assert refused.states[0][0] == wide.rule.policy.weight


def test_looking_charges_nothing(clock: FakeClock) -> None:
    counters = MemoryCounters(monotonic=clock)
    for _ in range(10):
        assert counters.peek([charge()]).states[0] == (0, 1_000_000_000)
    assert len(counters) == 0


def test_no_more_counters_are_kept_than_the_bound(clock: FakeClock) -> None:
    counters = MemoryCounters(max_counters=10, monotonic=clock)
    for number in range(100):
        counters.take([charge(consumer=f"project:{number}")])
    assert len(counters) == 10


def test_the_counter_used_least_recently_goes_first(clock: FakeClock) -> None:
    counters = MemoryCounters(max_counters=2, monotonic=clock)
    for consumer in ("hot", "cold", "hot", "new"):
        counters.take([charge(consumer=consumer)])
    assert counters.peek([charge(consumer="hot")]).states[0][0] == 2 * charge().rule.policy.weight


@pytest.mark.parametrize("algorithm", ["gcra", "fixed-window"])
def test_a_counter_lives_at_least_as_long_as_what_it_counts(clock: FakeClock, algorithm: str) -> None:
    counters = MemoryCounters(monotonic=clock)
    one = charge(limit=2, algorithm=algorithm)
    admitted = 0
    for _ in range(600):
        admitted += counters.take([one]).admitted
        clock.advance(1)
    assert admitted <= 2 + 2 * 10


def test_a_counter_that_counts_nothing_any_more_is_forgotten(clock: FakeClock) -> None:
    counters = MemoryCounters(monotonic=clock)
    counters.take([charge()])
    clock.advance(121)
    counters.take([charge(consumer="other")])
    assert len(counters) == 1


def test_one_consumer_can_be_given_its_rates_anew(clock: FakeClock) -> None:
    counters = MemoryCounters(monotonic=clock)
    mine = [charge("a", 1, "project:p"), charge("b", 1, "project:p+user:u"), charge("c", 1, "user:u")]
    others = [charge("a", 1, "project:pp"), charge("a", 1, "user:p")]
    for one in (*mine, *others):
        counters.take([one])
    assert counters.reset("project:p") == 2
    assert [counters.take([one]).admitted for one in (*mine, *others)] == [True, True, False, False, False]


def test_a_meter_charges_the_counter_that_others_charge(clock: FakeClock) -> None:
    counters = MemoryCounters(monotonic=clock)
    meters = [counters.meter(charge(limit=4)) for _ in range(2)]

    verdicts = [meter.take(clock())[0] for meter in meters * 2]
    verdicts.append(counters.take([charge(limit=4)]).admitted)

    assert verdicts == [True] * 4 + [False]
    assert [meter.refusal(clock()) is not None for meter in meters] == [True, True]


def test_a_meter_whose_counter_made_way_for_others_keeps_it_again(clock: FakeClock) -> None:
    counters = MemoryCounters(max_counters=1, monotonic=clock)
    meter = counters.meter(charge(consumer="hot"))
    meter.take(clock())

    counters.take([charge(consumer="other")])
    meter.take(clock())

    assert counters.peek([charge(consumer="hot")]).states[0][0] == 2 * charge().rule.policy.weight
    assert len(counters) == 1


def test_a_meter_begins_anew_with_a_consumer_that_was_given_its_rates_anew(clock: FakeClock) -> None:
    counters = MemoryCounters(monotonic=clock)
    meter = counters.meter(charge(limit=1))
    assert [meter.take(clock())[0] for _ in range(2)] == [True, False]

    counters.reset("project:p")

    assert [meter.take(clock())[0] for _ in range(2)] == [True, False]
