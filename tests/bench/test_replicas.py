"""The simulation of many replicas keeps its own promise, and its clock jumps."""

import asyncio
import time

import pytest

from metaproxy.protocol.limits.rates import RateRule
from metaproxy.settings.units import Rate
from tests.bench.replicas import JumpingLoop, Simulation, Traffic

FEW = Traffic(consumers=50, exponent=1.0, requests_per_second=2000, seconds=2.0)


@pytest.mark.parametrize("limit", [60, 600, 6000])
@pytest.mark.parametrize("spread", [1, 5, 20])
def test_nothing_is_admitted_that_does_not_fit_the_rule(limit: int, spread: int) -> None:
    rule = RateRule(name="r", rate=Rate(limit, "minute"))
    simulation = Simulation(FEW, rule, replicas=20, spread=spread, round_trip=0.001)
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(simulation.run())
    assert simulation.requests == 4000
    assert 0 < simulation.admitted <= 4000
    assert simulation.too_many == 0


def test_an_hour_of_simulated_time_takes_no_time() -> None:
    async def sleep_an_hour() -> float:
        loop = asyncio.get_running_loop()
        begin = loop.time()
        await asyncio.sleep(3600)
        return loop.time() - begin

    begin = time.monotonic()
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        assert runner.run(sleep_an_hour()) == pytest.approx(3600)
    assert time.monotonic() - begin < 600
