"""Whether identity answers."""

import pytest
from structlog.testing import capture_logs

from metaproxy.identity.health import IdentityHealth
from metaproxy.identity.troubles import IdentityUnavailable, Trouble
from tests.identities import FakeClock

DOWN = IdentityUnavailable(Trouble.TIMEOUT)


def test_identity_is_available_until_it_has_failed() -> None:
    health = IdentityHealth(FakeClock())

    assert (health.available, health.unavailable_for()) == (True, 0.0)


@pytest.mark.parametrize("answered_before", [True, False])
def test_an_outage_is_counted_from_its_first_failure_whatever_is_retried(answered_before: bool) -> None:
    clock = FakeClock()
    health = IdentityHealth(clock)
    if answered_before:
        health.answered()

    clock.now += 10
    for _ in range(3):
        health.failed(DOWN)
        clock.now += 5

    assert (health.available, health.trouble, health.unavailable_for()) == (False, "timeout", 15.0)


def test_what_was_let_in_once_stays_let_in() -> None:
    health = IdentityHealth(FakeClock())
    assert not health.is_let_in

    health.accepted()
    health.failed(DOWN)

    assert health.is_let_in


@pytest.mark.parametrize(
    ("trouble", "level"),
    [(Trouble.LOGIN_REFUSED, "error"), (Trouble.FORBIDDEN, "error"), (Trouble.TIMEOUT, "warning")],
)
def test_a_mistake_is_an_error_with_its_cause_and_an_outage_a_warning(trouble: Trouble, level: str) -> None:
    with capture_logs() as lines:
        IdentityHealth(FakeClock()).failed(IdentityUnavailable(trouble, "status 401"))

    assert [(line["log_level"], line["trouble"], line["cause"]) for line in lines] == [
        (level, trouble.value, "status 401")
    ]


def test_failures_and_returns_a_thousand_times_a_minute_are_a_few_lines() -> None:
    clock = FakeClock()
    health = IdentityHealth(clock)

    with capture_logs() as lines:
        for number in range(6000):
            health.failed(IdentityUnavailable(Trouble.TIMEOUT if number % 2 else Trouble.UNREACHABLE))
            if number % 3 == 0:
                health.answered()
            clock.now += 0.05

    assert 5 <= len(lines) <= 40


def test_the_return_of_identity_is_logged() -> None:
    clock = FakeClock()
    health = IdentityHealth(clock)
    with capture_logs() as lines:
        health.failed(DOWN)
        clock.now += 30
        health.answered()

    assert (lines[-1]["event"], lines[-1]["outage_seconds"]) == ("identity answers again", 30.0)


def test_any_verdict_ends_an_outage() -> None:
    health = IdentityHealth(FakeClock())
    health.failed(DOWN)

    health.answered()

    assert (health.available, health.trouble, health.unavailable_for()) == (True, "", 0.0)
