"""Whether identity answers."""

from metaproxy.identity.health import IdentityHealth
from metaproxy.identity.troubles import IdentityUnavailable, Trouble
from tests.identities import FakeClock

DOWN = IdentityUnavailable(Trouble.TIMEOUT)


def test_identity_is_available_until_it_has_failed() -> None:
    health = IdentityHealth(FakeClock())

    assert (health.available, health.unavailable_for()) == (True, 0.0)


def test_an_outage_is_counted_from_the_last_answer() -> None:
    clock = FakeClock()
    health = IdentityHealth(clock)
    health.answered()

    clock.now += 10
    health.failed(DOWN)
    clock.now += 5

    assert (health.available, health.trouble, health.unavailable_for()) == (False, "timeout", 15.0)


def test_an_outage_from_the_beginning_is_counted_from_the_last_failure() -> None:
    clock = FakeClock()
    health = IdentityHealth(clock)
    health.failed(DOWN)
    clock.now += 5

    assert health.unavailable_for() == 5.0


def test_any_verdict_ends_an_outage() -> None:
    health = IdentityHealth(FakeClock())
    health.failed(DOWN)

    health.answered()

    assert (health.available, health.trouble, health.unavailable_for()) == (True, "", 0.0)
