import asyncio
from collections.abc import Callable

import httpx
import pytest
from structlog.testing import capture_logs

from metaproxy.forward.breaker import Breaker, BreakerPolicy
from metaproxy.forward.checks import HealthChecks
from metaproxy.forward.errors import QueueFull
from metaproxy.forward.health import Health, HealthPolicy
from metaproxy.forward.target import Target

# A target that comes back in the same instant: the file has no ejection of no time.
POLICY = HealthPolicy(unhealthy_after=1, healthy_after=1).model_copy(update={"eject_for": 0.0})


def target() -> Target:
    return Target(
        "http://compute.example:8774",
        breaker=Breaker(BreakerPolicy()),
        health=Health(POLICY),
        monotonic=lambda: 0.0,
    )


def checks(
    answer: Callable[[httpx.Request], httpx.Response], compute: Target, interval: float = 5.0
) -> HealthChecks:
    return HealthChecks(
        httpx.MockTransport(answer), [compute], path="/healthz?x=1", interval=interval, monotonic=lambda: 0.0
    )


@pytest.mark.parametrize(
    ("status", "healthy"), [(200, True), (300, True), (401, True), (500, False), (503, False)]
)
async def test_any_answer_below_500_is_healthy(status: int, healthy: bool) -> None:
    compute = target()

    await checks(lambda _: httpx.Response(status), compute).check(compute)

    assert compute.health.is_healthy is healthy


async def test_a_change_of_health_is_logged_with_its_reason_once() -> None:
    compute, statuses = target(), iter([503, 503, 200, 200])
    asked = checks(lambda _: httpx.Response(next(statuses)), compute)

    with capture_logs() as logs:
        for _ in range(4):
            await asked.check(compute)

    assert [(event["healthy"], event["reason"]) for event in logs] == [(False, "status 503"), (True, "")]
    assert {event["target"] for event in logs} == {compute.name}


async def test_no_answer_is_unhealthy() -> None:
    compute = target()

    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    await checks(refuse, compute).check(compute)

    assert not compute.health.is_healthy


async def test_no_answer_within_the_interval_is_unhealthy() -> None:
    class Silent(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            await asyncio.Event().wait()
            raise AssertionError

    compute = target()

    await HealthChecks(Silent(), [compute], path="/", interval=0.01, monotonic=lambda: 0.0).check(compute)

    assert not compute.health.is_healthy


async def test_a_queue_of_our_own_says_nothing_of_the_target() -> None:
    compute = target()

    def queue_full(request: httpx.Request) -> httpx.Response:
        raise QueueFull("full")

    await checks(queue_full, compute).check(compute)

    assert compute.health.is_healthy


async def test_what_is_asked() -> None:
    asked: list[httpx.Request] = []
    compute = target()

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200)

    await checks(answer, compute).check(compute)

    assert [(request.method, request.extensions["target"]) for request in asked] == [("GET", b"/healthz?x=1")]
    assert asked[0].headers["host"] == "compute.example:8774"


async def test_once_started_it_checks_again_and_again_until_it_is_closed() -> None:
    asked = asyncio.Semaphore(0)
    compute = target()

    def answer(_: httpx.Request) -> httpx.Response:
        asked.release()
        return httpx.Response(200)

    watching = checks(answer, compute, interval=0.001)
    watching.start()
    for _ in range(3):
        await asked.acquire()
    await watching.close()
