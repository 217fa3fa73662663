import pytest

from metaproxy.protocol.limits.fixed_window import FixedWindow
from metaproxy.protocol.limits.gcra import Gcra
from metaproxy.protocol.limits.lending import FEWEST, Account, Slice, life_of
from metaproxy.protocol.limits.policy import MICROSECONDS, Policy
from metaproxy.protocol.limits.rates import RateRule
from metaproxy.settings.units import Rate
from tests.unit.store.charges import per

RULE = RateRule(name="r", rate=Rate(60, "minute"))
POLICIES: list[Policy] = [Gcra.of(RULE), FixedWindow.of(RULE)]
EACH = pytest.mark.parametrize("policy", POLICIES, ids=["gcra", "fixed-window"])
BEGUN = 10**12


def charged(policy: Policy, requests: int = 1, now: int = BEGUN) -> Account:
    """Return an account to which ``requests`` were charged at ``now``."""
    account = Account()
    account.settle(policy, now)
    account.charge(policy, requests)
    return account


def lent(account: Account, policy: Policy, wanted: int, now: int = BEGUN) -> Slice:
    requests = account.lendable(policy, now, wanted)
    assert requests
    return account.lend(policy, now, requests, incarnation=7)


def room(account: Account, policy: Policy) -> int:
    return (policy.capacity - account.state[0]) // policy.weight


@EACH
def test_what_is_lent_counts_as_spent(policy: Policy) -> None:
    account = charged(policy)
    lent(account, policy, 5)
    assert room(account, policy) == 60 - 1 - 5


@EACH
def test_what_is_given_back_unused_is_free_again(policy: Policy) -> None:
    account = charged(policy)
    loan = lent(account, policy, 6)
    account.take_back(policy, loan.mark, spent=2, unused=4)
    assert room(account, policy) == 60 - 1 - 2


@EACH
def test_a_slice_can_be_reported_piece_by_piece(policy: Policy) -> None:
    account = charged(policy)
    loan = lent(account, policy, 6)
    for spent, unused in ((1, 0), (2, 0), (0, 3)):
        account.take_back(policy, loan.mark, spent, unused)
    assert (room(account, policy), account.lent) == (60 - 1 - 3, {})


def test_units_that_are_out_do_not_leak() -> None:
    policy = Gcra.of(RULE)
    account = charged(policy)
    lent(account, policy, 7)
    account.settle(policy, BEGUN + MICROSECONDS)  # one request leaks, and that was not lent
    assert room(account, policy) == 60 - 7


def test_a_slice_that_has_ended_leaks_from_its_end_on() -> None:
    policy = Gcra.of(RULE)
    account = charged(policy)
    _, end = lent(account, policy, 7).mark
    account.settle(policy, end + 2 * MICROSECONDS)
    assert (room(account, policy), account.lent) == (60 - 7 + 2, {})


@EACH
def test_a_slice_that_has_ended_cannot_be_given_back(policy: Policy) -> None:
    account = charged(policy)
    loan = lent(account, policy, 7)
    account.settle(policy, loan.mark[1])
    before = account.state
    account.take_back(policy, loan.mark, spent=0, unused=7)
    assert account.state == before


@EACH
def test_a_slice_of_another_incarnation_changes_nothing(policy: Policy) -> None:
    account = charged(policy)
    born, end = lent(account, policy, 7).mark
    before = account.state
    account.take_back(policy, (born + 1, end), spent=0, unused=7)
    assert account.state == before


@EACH
def test_the_counter_keeps_a_slice_longer_than_its_replica_may_use_it(policy: Policy) -> None:
    loan = lent(charged(policy), policy, 5)
    assert BEGUN + loan.seconds * MICROSECONDS * 9 / 8 <= loan.mark[1]


def test_a_slice_ends_before_its_window_does() -> None:
    policy = FixedWindow.of(RULE)
    account = charged(policy)
    late = BEGUN + policy.pace - MICROSECONDS // 2
    account.settle(policy, late)
    loan = lent(account, policy, 5, late)
    assert late + loan.seconds * MICROSECONDS * 9 / 8 <= BEGUN + policy.pace
    assert loan.mark[1] <= BEGUN + policy.pace
    account.settle(policy, BEGUN + policy.pace)
    assert room(account, policy) == 60


def test_a_loan_begins_no_window() -> None:
    policy = FixedWindow.of(RULE)
    account = Account()
    account.settle(policy, BEGUN)
    assert account.lendable(policy, BEGUN, 10) == 0


@pytest.mark.parametrize("algorithm", [Gcra, FixedWindow])
def test_at_most_half_of_what_is_left_is_out(algorithm: type[Gcra] | type[FixedWindow]) -> None:
    policy = algorithm.of(RateRule(name="r", rate=Rate(1000, "minute")))
    account = charged(policy, 10)
    while requests := account.lendable(policy, BEGUN, 1000):
        assert requests <= room(account, policy) / 8
        account.lend(policy, BEGUN, requests, 7)
    assert 0.95 < account.out / (990 * policy.weight / 2) <= 1


@EACH
def test_a_counter_that_is_nearly_full_lends_nothing(policy: Policy) -> None:
    assert charged(policy, 60 - 8 * FEWEST + 1).lendable(policy, BEGUN, 1000) == 0


@EACH
def test_a_counter_has_few_ends_however_much_it_lends(policy: Policy) -> None:
    rule = RateRule(name="r", rate=Rate(1_000_000, "hour"))
    policy = type(policy).of(rule)  # type: ignore[attr-defined]
    account = charged(policy)
    for step in range(2000):
        now = BEGUN + step * 1000
        account.settle(policy, now)
        lent(account, policy, 5, now)
        assert len(account.lent) <= 11


@pytest.mark.parametrize(
    ("limit", "period_seconds", "burst", "life"),
    [(1000, 60, None, 1_000_000), (100, 1, None, 62_500), (10, 1, 2, 0), (1, 86400, None, 1_000_000)],
)
def test_a_life_is_short_beside_the_time_in_which_a_bucket_runs_empty(
    limit: int, period_seconds: int, burst: int | None, life: int
) -> None:
    rule = RateRule(name="r", rate=per(period_seconds, limit), burst=burst)
    assert life_of(Gcra.of(rule)) == life


def test_a_clock_that_went_back_keeps_no_slice_out_for_long() -> None:
    policy = Gcra.of(RULE)
    account = charged(policy)
    lent(account, policy, 7)
    account.settle(policy, BEGUN - 3600 * MICROSECONDS)
    assert (room(account, policy), account.lent) == (60 - 8, {})
