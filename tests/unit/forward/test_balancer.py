import pytest

from metaproxy.forward.balancer import Balancer
from metaproxy.forward.breaker import Breaker, BreakerPolicy
from metaproxy.forward.health import Health, HealthPolicy
from metaproxy.forward.target import Target
from metaproxy.protocol.faults import Fault

NOW = 100.0


def target(name: str, *, busy: int = 0, healthy: bool = True, opened_at: float | None = None) -> Target:
    breaker = Breaker(BreakerPolicy(failures=1, window=1.0, open_for=5.0))
    health = Health(HealthPolicy(unhealthy_after=1))
    made = Target(f"http://{name}", breaker=breaker, health=health, monotonic=lambda: NOW)
    made.busy = busy
    if not healthy:
        health.checked(NOW, healthy=False)
    if opened_at is not None:
        breaker.failed(opened_at, trial=breaker.enter())
    return made


def choose(*targets: Target, tried: tuple[int, ...] = ()) -> str:
    balancer = Balancer(targets, monotonic=lambda: NOW)
    return balancer.choose([targets[index] for index in tried]).name


def test_the_least_busy_is_chosen() -> None:
    assert choose(target("a", busy=3), target("b", busy=1), target("c", busy=2)) == "http://b"


def test_an_unhealthy_target_comes_last_however_idle_it_is() -> None:
    assert choose(target("a", busy=0, healthy=False), target("b", busy=9)) == "http://b"


def test_an_unhealthy_target_is_better_than_none() -> None:
    assert choose(target("a", healthy=False)) == "http://a"


def test_a_target_with_an_open_breaker_is_not_chosen() -> None:
    assert choose(target("a", opened_at=NOW), target("b", busy=9, healthy=False)) == "http://b"


def test_a_target_whose_breaker_has_been_open_for_long_enough_is() -> None:
    assert choose(target("a", opened_at=NOW - 5.0), target("b", busy=9)) == "http://a"


def test_one_that_has_been_tried_comes_after_one_that_has_not() -> None:
    assert choose(target("a"), target("b", busy=9, healthy=False), tried=(0,)) == "http://b"


def test_the_only_one_is_tried_again() -> None:
    assert choose(target("a"), tried=(0,)) == "http://a"


def test_equals_take_turns() -> None:
    balancer = Balancer([target("a"), target("b"), target("c")], monotonic=lambda: NOW)

    chosen = [balancer.choose().name for _ in range(6)]

    assert sorted(chosen[:3]) == ["http://a", "http://b", "http://c"]
    assert chosen[:3] == chosen[3:]


def test_where_every_breaker_is_open_the_client_learns_when_to_come_again() -> None:
    balancer = Balancer([target("a", opened_at=NOW), target("b", opened_at=NOW - 2.5)], monotonic=lambda: NOW)

    with pytest.raises(Fault) as raised:
        balancer.choose()

    assert (raised.value.status, raised.value.reason) == (503, "upstream_unavailable")
    assert raised.value.retry_after == 3


def test_whether_there_is_another_to_try() -> None:
    first, second, opened = target("a"), target("b"), target("c", opened_at=NOW)
    balancer = Balancer([first, second, opened], monotonic=lambda: NOW)

    assert balancer.has_other([first])
    assert not balancer.has_other([first, second])
