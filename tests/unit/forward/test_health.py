import pytest

from metaproxy.forward.health import Health, HealthPolicy

POLICY = HealthPolicy(unhealthy_after=3, healthy_after=2, eject_for=10.0)


def after(*checks: tuple[float, bool]) -> Health:
    health = Health(POLICY)
    for now, healthy in checks:
        health.checked(now, healthy=healthy)
    return health


@pytest.mark.parametrize(
    ("results", "healthy"),
    [
        ("", True),
        ("--", True),
        ("---", False),
        ("--+--", True),
        ("+++---", False),
        ("------", False),
        ("---+", False),
        ("---++", True),
        ("---+-+", False),
        ("---++--", True),
        ("---++---", False),
    ],
)
def test_results_in_a_row_take_a_target_out_and_in_again(results: str, healthy: bool) -> None:
    # A check every 20 seconds: the time that a target stays out is over at each.
    health = after(*((number * 20.0, result == "+") for number, result in enumerate(results)))

    assert health.is_healthy is healthy


def test_a_target_stays_out_for_its_time_however_healthy_it_is() -> None:
    out = [(0.0, False), (1.0, False), (2.0, False)]

    assert not after(*out, (3.0, True), (4.0, True), (11.9, True)).is_healthy
    assert after(*out, (3.0, True), (4.0, True), (12.0, True)).is_healthy
