import pytest

from metaproxy.forward.breaker import Breaker, BreakerPolicy, BreakerState

POLICY = BreakerPolicy(failures=3, window=10.0, open_for=5.0)


def opened(now: float = 100.0) -> Breaker:
    breaker = Breaker(POLICY)
    for _ in range(3):
        breaker.failed(now, trial=breaker.enter())
    return breaker


@pytest.mark.parametrize(
    ("failures", "state"),
    [
        ([], BreakerState.CLOSED),
        ([100, 101], BreakerState.CLOSED),
        ([100, 101, 102], BreakerState.OPEN),
        ([100, 105, 110], BreakerState.OPEN),
        ([100, 105, 110.1], BreakerState.CLOSED),
        ([90, 100, 105, 109], BreakerState.OPEN),
    ],
)
def test_so_many_failures_inside_the_window_open_it(failures: list[float], state: BreakerState) -> None:
    breaker = Breaker(POLICY)

    for moment in failures:
        breaker.failed(moment, trial=breaker.enter())

    assert breaker.state is state


@pytest.mark.parametrize(("now", "allowed"), [(100.0, False), (104.9, False), (105.0, True), (200.0, True)])
def test_open_it_lets_nothing_pass_until_its_time_is_over(now: float, allowed: bool) -> None:
    assert opened(100.0).allows(now) is allowed


def test_half_open_it_lets_one_request_try() -> None:
    breaker = opened(100.0)

    assert breaker.enter() is True

    assert breaker.state is BreakerState.HALF_OPEN
    assert not breaker.allows(106.0)


def test_a_trial_that_succeeds_closes_it() -> None:
    breaker = opened(100.0)

    breaker.succeeded(trial=breaker.enter())

    assert breaker.state is BreakerState.CLOSED
    assert breaker.allows(106.0)


def test_a_trial_that_fails_opens_it_anew() -> None:
    breaker = opened(100.0)

    breaker.failed(106.0, trial=breaker.enter())

    assert not breaker.allows(110.9)
    assert breaker.allows(111.0)


def test_a_trial_that_tells_nothing_leaves_it_to_the_next() -> None:
    breaker = opened(100.0)

    breaker.withdrawn(trial=breaker.enter())

    assert breaker.allows(106.0)
    assert breaker.enter() is True


@pytest.mark.parametrize("way", ["succeeded", "failed", "withdrawn"])
def test_requests_from_before_it_opened_change_nothing(way: str) -> None:
    breaker = opened(100.0)

    match way:
        case "succeeded":
            breaker.succeeded(trial=False)
        case "failed":
            breaker.failed(103.0, trial=False)
        case _:
            breaker.withdrawn(trial=False)

    assert breaker.state is BreakerState.OPEN
    assert breaker.seconds_left(101.0) == 4.0


def test_old_failures_are_forgotten_once_it_has_closed() -> None:
    breaker = opened(100.0)
    breaker.succeeded(trial=breaker.enter())

    breaker.failed(106.0, trial=breaker.enter())

    assert breaker.state is BreakerState.CLOSED
