import asyncio

import httpx
import pytest

from metaproxy.exchange import ClientDisconnected
from metaproxy.forward.breaker import Breaker, BreakerPolicy, BreakerState
from metaproxy.forward.errors import QueueFull
from metaproxy.forward.health import Health, HealthPolicy
from metaproxy.forward.target import Attempt, Target


def target(name: str = "http://compute.example:8774") -> Target:
    breaker = Breaker(BreakerPolicy(failures=1, window=1.0, open_for=5.0))
    return Target(name, breaker=breaker, health=Health(HealthPolicy()), monotonic=lambda: 100.0)


@pytest.mark.parametrize(
    ("name", "authority"),
    [
        ("http://compute.example:8774", b"compute.example:8774"),
        ("https://compute.example", b"compute.example"),
        ("http://[::1]:8774", b"[::1]:8774"),
        ("unix:/run/compute.sock", b"localhost"),
    ],
)
def test_a_target_has_a_name_of_its_own(name: str, authority: bytes) -> None:
    assert target(name).authority == authority


@pytest.mark.parametrize("name", ["compute.example", "ftp://compute.example", "http://compute.example/v2.1"])
def test_what_is_no_target(name: str) -> None:
    with pytest.raises(ValueError, match="a target is"):
        target(name)


def test_a_target_is_busy_for_as_long_as_an_attempt_lasts() -> None:
    compute = target()

    with Attempt(compute), Attempt(compute):
        assert compute.busy == 2

    assert compute.busy == 0


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (httpx.ReadTimeout(""), BreakerState.OPEN),
        (httpx.ConnectError(""), BreakerState.OPEN),
        (QueueFull(""), BreakerState.CLOSED),
        (ClientDisconnected(), BreakerState.CLOSED),
        (asyncio.CancelledError(), BreakerState.CLOSED),
    ],
)
def test_the_breaker_learns_of_the_targets_own_failures(error: BaseException, state: BreakerState) -> None:
    compute = target()

    with pytest.raises(type(error)), Attempt(compute):
        raise error

    assert compute.breaker.state is state
    assert compute.busy == 0


def on_trial() -> Target:
    compute = target()
    compute.breaker.failed(0.0, trial=compute.breaker.enter())
    return compute


def test_a_target_on_trial_has_passed_with_the_head_of_its_answer() -> None:
    compute = on_trial()

    with Attempt(compute) as attempt:
        attempt.answered(200)

        assert compute.breaker.state is BreakerState.CLOSED


@pytest.mark.parametrize("state", [BreakerState.CLOSED, BreakerState.HALF_OPEN])
def test_an_answer_that_comes_as_a_whole_ends_its_attempt_and_passes_a_trial(state: BreakerState) -> None:
    compute = target()
    compute.breaker.state = state

    Attempt(compute).completed(200)

    assert (compute.busy, compute.breaker.state) == (0, BreakerState.CLOSED)


def test_a_body_that_breaks_off_is_a_failure_all_the_same() -> None:
    compute = on_trial()

    def answer_and_break_off() -> None:
        with Attempt(compute) as attempt:
            attempt.answered(200)
            raise httpx.ReadError("")

    with pytest.raises(httpx.ReadError):
        answer_and_break_off()

    assert compute.breaker.state is BreakerState.OPEN


def test_a_trial_that_the_client_breaks_off_is_left_to_the_next() -> None:
    compute = on_trial()

    with pytest.raises(ClientDisconnected), Attempt(compute):
        raise ClientDisconnected

    assert compute.breaker.state is BreakerState.OPEN
    assert compute.breaker.allows(100.0)


@pytest.mark.parametrize("is_whole", [True, False])
@pytest.mark.parametrize(
    ("status", "state"), [(503, BreakerState.OPEN), (500, BreakerState.CLOSED), (200, BreakerState.CLOSED)]
)
def test_answers_that_are_configured_as_failures_open_the_breaker(
    status: int, state: BreakerState, *, is_whole: bool
) -> None:
    breaker = Breaker(BreakerPolicy(failures=2, window=1.0, open_for=5.0))
    compute = Target(
        "http://compute.example",
        breaker=breaker,
        health=Health(HealthPolicy()),
        monotonic=lambda: 100.0,
        failing=frozenset({503}),
    )
    for _ in range(2):
        attempt = Attempt(compute)
        if is_whole:
            attempt.completed(status)
        else:
            with attempt:
                attempt.answered(status)

    assert (breaker.state, compute.busy) == (state, 0)


def test_a_failing_answer_to_the_one_that_tries_opens_the_breaker_anew() -> None:
    now = 0.0
    breaker = Breaker(BreakerPolicy(failures=1, window=1.0, open_for=5.0))
    compute = Target(
        "http://compute.example",
        breaker=breaker,
        health=Health(HealthPolicy()),
        monotonic=lambda: now,
        failing=frozenset({503}),
    )
    Attempt(compute).completed(503)
    now = 6.0
    with Attempt(compute) as attempt:
        attempt.answered(503)

    assert breaker.state is BreakerState.OPEN
    assert not breaker.allows(10.9)
