from typing import Any

import pytest

from metaproxy.store.counters import Counter, Return, Wish
from metaproxy.store.ledger import Ledger
from tests.filters.limiting import FakeClock
from tests.unit.store.charges import charge


def counter(name: str = "r", limit: int = 100, consumer: str = "project:p", **more: Any) -> Counter:
    return charge(name, limit, consumer, **more).counter


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.mark.parametrize("algorithm", ["gcra", "fixed-window"])
def test_as_many_as_the_limit_are_admitted(clock: FakeClock, algorithm: str) -> None:
    ledger = Ledger(monotonic=clock)
    one = counter(limit=3, algorithm=algorithm)
    assert [ledger.take([one]).admitted for _ in range(5)] == [True, True, True, False, False]


def test_one_counter_without_room_leaves_all_uncharged_and_lends_nothing(clock: FakeClock) -> None:
    ledger = Ledger(monotonic=clock)
    wide, narrow = counter("wide"), counter("narrow", 1)
    ledger.take([wide, narrow])
    refused = ledger.take([wide, narrow], wishes=[10, 10])
    assert (refused.admitted, refused.slices) == (False, ())
    assert refused.states[0][0] == wide.policy.weight


def test_a_charge_lends_beside_it(clock: FakeClock) -> None:
    ledger = Ledger(monotonic=clock)
    taken = ledger.take([counter()], wishes=[5])
    assert [loan and loan.requests for loan in taken.slices] == [5]
    assert taken.states[0][0] == 6 * counter().policy.weight


def test_counters_that_are_charged_together_lend_the_same_number_or_nothing(clock: FakeClock) -> None:
    ledger = Ledger(monotonic=clock)
    wide, narrow, full = counter("wide", 1000), counter("narrow", 80), counter("full", 3)
    taken = ledger.take([wide, narrow, full], wishes=[50, 50, 0])
    assert [loan and loan.requests for loan in taken.slices] == [9, 9, None]
    assert ledger.take([wide, full], wishes=[50, 50]).slices == ()


def test_an_exchange_takes_back_before_it_lends(clock: FakeClock) -> None:
    ledger = Ledger(monotonic=clock)
    one, other = counter(limit=80), counter(consumer="project:q")
    [loan] = ledger.take([one], wishes=[9]).slices
    assert loan
    lent = ledger.exchange([Return(one, loan.mark, 2, 7)], [Wish(one, 9), Wish(other, 4)]).lent
    assert [each.slice and each.slice.requests for each in lent] == [9, 4]
    assert lent[0].state[0] == (1 + 2 + 9) * one.policy.weight


def test_looking_charges_nothing_and_keeps_nothing(clock: FakeClock) -> None:
    ledger = Ledger(monotonic=clock)
    assert ledger.take([counter()], cost=0).states[0][0] == 0
    assert len(ledger) == 0


def test_a_charge_can_be_taken_back(clock: FakeClock) -> None:
    ledger = Ledger(monotonic=clock)
    ledger.take([counter(limit=1)])
    ledger.take([counter(limit=1)], cost=-1)
    assert ledger.take([counter(limit=1)]).admitted


def test_a_slice_from_before_a_reset_gives_nothing_back_after_it(clock: FakeClock) -> None:
    ledger = Ledger(monotonic=clock)
    [former] = ledger.take([counter()], wishes=[8]).slices
    assert ledger.reset("project:p") == 1
    ledger.take([counter()], wishes=[8])
    assert former
    ledger.exchange([Return(counter(), former.mark, 0, 8)], [])
    assert ledger.take([counter()], cost=0).states[0][0] == 9 * counter().policy.weight


def test_no_more_accounts_are_kept_than_the_bound(clock: FakeClock) -> None:
    ledger = Ledger(max_counters=10, monotonic=clock)
    for number in range(100):
        ledger.take([counter(consumer=f"project:{number}")])
    assert len(ledger) == 10
    ledger.hold(3)
    assert len(ledger) == 3


def test_what_has_run_out_is_forgotten_as_others_are_charged(clock: FakeClock) -> None:
    ledger = Ledger(monotonic=clock)
    for number in range(100):
        ledger.take([counter(consumer=f"project:{number}")])
    clock.advance(60)
    for number in range(60):
        ledger.take([counter(consumer=f"user:{number}")])
    assert len(ledger) == 60
