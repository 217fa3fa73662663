import asyncio

import pytest

from metaproxy.filters.limit import RateLimit
from metaproxy.filters.rates import Rates
from metaproxy.protocol.limits.settings import OnStoreFailure
from metaproxy.telemetry.metrics import Metrics
from tests.asgi_driver import Answer, drive
from tests.filters.limiting import ITEM, FakeClock, Identified, Upstream, rate
from tests.filters.test_rates import ALICE, FakeStore


class Line:
    """Two replicas that borrow from one store."""

    def __init__(self, limit: int, on_store_failure: OnStoreFailure = "local") -> None:
        self.clock = FakeClock()
        self.store = FakeStore(self.clock)
        self.replicas = [
            Rates(
                [rate(limit=limit)],
                shared=self.store,
                sharing="leased",
                on_store_failure=on_store_failure,
                monotonic=self.clock,
            )
            for _ in range(2)
        ]
        self._limits = [
            RateLimit(Upstream(), rates=rates, metrics=Metrics(), monotonic=self.clock)
            for rates in self.replicas
        ]

    async def get(self, replica: int = 0) -> Answer:
        answer = await drive(Identified(self._limits[replica]), "GET", ITEM, ALICE)
        await asyncio.sleep(0)  # a renewal that has begun runs
        return answer

    async def close(self) -> None:
        for rates in self.replicas:
            await rates.close()


async def test_most_requests_wait_for_no_store() -> None:
    line = Line(limit=10_000)
    answers = [await line.get() for _ in range(300)]
    assert {answer.status for answer in answers} == {200}
    assert line.store.asked < 30
    assert answers[-1].exchange.waits == {}
    assert answers[-1].header("ratelimit") == '"reads";r=9700;t=1'
    await line.close()


async def test_replicas_together_admit_no_more_than_the_limit() -> None:
    line = Line(limit=100)
    statuses = [(await line.get(number % 2)).status for number in range(300)]
    assert 50 <= statuses.count(200) <= 100
    assert set(statuses) == {200, 413}
    await line.close()


async def test_requests_that_were_given_back_are_admitted_elsewhere() -> None:
    line = Line(limit=100)
    for _ in range(10):
        await line.get(0)
    await line.replicas[0].close()
    assert [(await line.get(1)).status for _ in range(100)].count(200) == 90
    await line.close()


@pytest.mark.parametrize(("on_store_failure", "then"), [("allow", 200), ("deny", 503)])
async def test_requests_in_hand_are_spent_before_the_operators_choice_holds(
    on_store_failure: OnStoreFailure, then: int
) -> None:
    line = Line(limit=1000, on_store_failure=on_store_failure)
    for _ in range(2):
        await line.get()
    line.store.available, line.store.dies = False, True
    told = [await line.get() for _ in range(100)]
    counted = [answer for answer in told if answer.header("ratelimit")]
    assert counted == told[: len(counted)]
    assert counted
    assert {answer.status for answer in told[len(counted) :]} == {then}
    await line.close()
