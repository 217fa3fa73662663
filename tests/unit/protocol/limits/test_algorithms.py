"""Both algorithms against oracles that are too simple to be wrong."""

from collections.abc import Iterator
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from metaproxy.protocol.limits.fixed_window import FixedWindow
from metaproxy.protocol.limits.gcra import MOST_UNITS, Gcra
from metaproxy.protocol.limits.policy import (
    MICROSECONDS,
    UNTOUCHED,
    Policy,
    State,
    fits,
    remaining,
    standing,
)
from metaproxy.protocol.limits.rates import LONGEST_REFILL, RateRule
from metaproxy.settings.units import MOST_PER_SECOND, RATE_UNITS, Rate
from tests.unit.store.charges import spend

START = 10**15

Arrivals = list[tuple[int, int]]
"""Microseconds since the arrival before, and the cost, of each request."""

rules = st.builds(
    RateRule,
    name=st.just("r"),
    rate=st.builds(Rate, st.integers(1, 2000), st.sampled_from(list(RATE_UNITS))),
    burst=st.none() | st.integers(1, 365),
)
gaps = st.one_of(
    st.just(0),
    st.integers(0, 1000),
    st.integers(0, 2 * MICROSECONDS),
    st.integers(0, 2 * 86_400 * MICROSECONDS),
)
arrivals = st.lists(st.tuples(gaps, st.integers(1, 5)), max_size=60)
algorithms = st.sampled_from([Gcra, FixedWindow])
policies: st.SearchStrategy[Policy] = st.builds(lambda algorithm, rule: algorithm.of(rule), algorithms, rules)


def moments(requests: Arrivals) -> Iterator[tuple[int, int]]:
    """Yield when each request arrives, and its cost."""
    now = START
    for gap, cost in requests:
        now += gap
        yield now, cost


def admitted(policy: Policy, requests: Arrivals) -> list[bool]:
    state, verdicts = UNTOUCHED, []
    for now, cost in moments(requests):
        settled = policy.settle(state, now)
        verdicts.append(fits(policy, settled, cost))
        state = spend(policy, settled, cost) if verdicts[-1] else settled
    return verdicts


def after(policy: Policy, requests: Arrivals) -> tuple[State, int]:
    """Return the settled state after ``requests``, and the moment of the last one."""
    state, now = policy.settle(UNTOUCHED, START), START
    for moment, cost in moments(requests):
        now = moment
        state = policy.settle(state, now)
        if fits(policy, state, cost):
            state = spend(policy, state, cost)
    return state, now


def more_at(policy: Policy, state: State, now: int) -> int:
    """Return how many single requests are admitted at ``now``, by asking."""
    count, state = 0, policy.settle(state, now)
    while fits(policy, state):
        count, state = count + 1, spend(policy, state)
    return count


@given(rules, arrivals)
def test_gcra_admits_what_a_bucket_of_tokens_would(rule: RateRule, requests: Arrivals) -> None:
    burst = Fraction(rule.burst or rule.limit)
    tokens, before, expected = burst, START, []
    for now, cost in moments(requests):
        gained = Fraction((now - before) * rule.limit, rule.period_seconds * MICROSECONDS)
        tokens, before = min(burst, tokens + gained), now
        expected.append(tokens >= cost)
        tokens -= cost if expected[-1] else 0
    assert admitted(Gcra.of(rule), requests) == expected


@given(rules, arrivals)
def test_gcra_never_admits_more_than_burst_and_rate_in_any_stretch(
    rule: RateRule, requests: Arrivals
) -> None:
    verdicts = admitted(Gcra.of(rule), requests)
    through = [arrival for arrival, ok in zip(moments(requests), verdicts, strict=True) if ok]
    period = rule.period_seconds * MICROSECONDS
    for first, (begin, _) in enumerate(through):
        total = 0
        for end, cost in through[first:]:
            total += cost
            assert total * period <= (rule.burst or rule.limit) * period + rule.limit * (end - begin)


@given(rules, st.integers(0, 50))
def test_gcra_never_refuses_who_keeps_to_the_rate(rule: RateRule, number: int) -> None:
    interval = -(-rule.period_seconds * MICROSECONDS // rule.limit)
    assert all(admitted(Gcra.of(rule), [(interval, 1)] * number))


@given(rules, arrivals)
def test_a_fixed_window_admits_its_limit_in_each_window(rule: RateRule, requests: Arrivals) -> None:
    ends, count, expected = 0, 0, []
    for now, cost in moments(requests):
        if now >= ends:
            count = 0
        expected.append(count + cost <= rule.limit)
        if expected[-1]:
            ends = ends if count else now + rule.period_seconds * MICROSECONDS
            count += cost
    assert admitted(FixedWindow.of(rule), requests) == expected


@given(rules, arrivals)
def test_a_stretch_of_one_period_sees_less_than_two_fixed_windows(rule: RateRule, requests: Arrivals) -> None:
    verdicts = admitted(FixedWindow.of(rule), requests)
    through = [arrival for arrival, ok in zip(moments(requests), verdicts, strict=True) if ok]
    for begin, _ in through:
        stretch = [cost for now, cost in through if begin <= now < begin + rule.period_seconds * MICROSECONDS]
        assert sum(stretch) <= 2 * rule.limit


@given(policies, arrivals)
def test_admitting_in_one_step_is_settling_asking_and_spending(policy: Policy, requests: Arrivals) -> None:
    state = UNTOUCHED
    for now, cost in moments(requests):
        settled = policy.settle(state, now)
        fit = fits(policy, settled, cost)
        expected = spend(policy, settled, cost) if fit else settled
        assert policy.admit(state, now, cost) == (fit, expected)
        state = expected


@given(policies, arrivals)
def test_what_answers_tell_is_what_remains_and_when_more_does(policy: Policy, requests: Arrivals) -> None:
    state, now = after(policy, requests)
    assert policy.standing(state, now) == (remaining(policy, state), policy.renewal(state, now))


@settings(max_examples=50)
@given(policies, arrivals)
def test_remaining_is_what_is_admitted_at_once(policy: Policy, requests: Arrivals) -> None:
    state, now = after(policy, requests)
    assert remaining(policy, state) == more_at(policy, state, now)


@given(policies, arrivals, st.integers(1, 5))
def test_waiting_admits_and_a_microsecond_less_does_not(
    policy: Policy, requests: Arrivals, cost: int
) -> None:
    if cost * policy.weight > policy.capacity:
        return
    state, now = after(policy, requests)
    wait = policy.wait(state, now, cost)
    assert fits(policy, policy.settle(state, now + wait), cost)
    assert wait == 0 or not fits(policy, policy.settle(state, now + wait - 1), cost)


@given(policies, arrivals, st.integers(0, MICROSECONDS))
def test_waiting_retry_after_always_admits(policy: Policy, requests: Arrivals, late: int) -> None:
    state, now = after(policy, requests)
    seconds = standing(policy, state, now).wait_seconds
    assert fits(policy, policy.settle(state, now + seconds * MICROSECONDS + late))


@settings(max_examples=50)
@given(policies, arrivals)
def test_renewal_is_when_more_fits_than_now(policy: Policy, requests: Arrivals) -> None:
    state, now = after(policy, requests)
    renewal = policy.renewal(state, now)
    if renewal == 0:
        assert state[0] == 0
        return
    before = policy.settle(state, now + renewal - 1)
    then = policy.settle(state, now + renewal)
    assert remaining(policy, before) == remaining(policy, state)
    # The last bit of a bucket may leak without making room for one request more.
    assert remaining(policy, then) > remaining(policy, state) or then[0] == 0


@given(policies, arrivals)
def test_retry_after_names_no_earlier_moment_than_renewal(policy: Policy, requests: Arrivals) -> None:
    state, now = after(policy, requests)
    if not fits(policy, state):
        assert policy.wait(state, now) >= policy.renewal(state, now)


@given(policies, arrivals)
def test_after_its_horizon_a_state_is_as_good_as_none(policy: Policy, requests: Arrivals) -> None:
    state, now = after(policy, requests)
    assert policy.settle(state, now + policy.horizon)[0] == 0


@given(policies, arrivals, st.integers(0, 10**12))
def test_a_clock_that_goes_back_makes_nobody_wait_longer_than_the_horizon(
    policy: Policy, requests: Arrivals, back: int
) -> None:
    state, now = after(policy, requests)
    settled = policy.settle(state, now - back)
    assert policy.wait(settled, now - back) <= policy.horizon


@given(st.builds(Rate, st.integers(1, MOST_PER_SECOND), st.sampled_from(list(RATE_UNITS))), st.floats(0, 1))
def test_no_bucket_holds_more_units_than_redis_counts_exactly(rate: Rate, share: float) -> None:
    longest = min(LONGEST_REFILL * rate.limit // rate.period_seconds, 1_000_000_000)
    bucket = Gcra.of(RateRule(name="r", rate=rate, burst=max(int(share * longest), 1)))
    assert bucket.capacity <= MOST_UNITS
    promised = Fraction(rate.limit, rate.period_seconds * MICROSECONDS)
    granted = Fraction(bucket.pace, bucket.weight)
    assert promised * Fraction(999_999, 1_000_000) <= granted <= promised


def test_a_burst_beyond_all_counting_is_refused() -> None:
    with pytest.raises(
        ValidationError, match="1000000 requests at 1/day are the share of more than 365 days"
    ):
        RateRule(name="r", rate=Rate(1, "day"), burst=10**6)
