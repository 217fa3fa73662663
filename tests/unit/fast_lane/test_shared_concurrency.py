"""Requests that another process's take the place of are refused the first time, and when they come again."""

import asyncio
import re
from typing import Any

import pytest

from metaproxy.store.running import SharedRunning
from tests.unit.fast_lane.fronts import ALICE, OK, Front, until
from tests.unit.fast_lane.lines import request
from tests.unit.forward.scripted import answers, upstream
from tests.unit.store.memory_slots import MemorySlots

MAXIMUM = 5
PROJECT = "project:t1"


class Store(MemorySlots):
    """Slots that a test takes away."""

    def __init__(self) -> None:
        super().__init__(lease_seconds=3600)
        self.available = True


READS = {
    "from memory": (200, "/v2.1/t1/images/i1/metadata/label", {}),
    "from memory, counted before identity": (200, "/v2.1/t1/images/i1/metadata/label", {"early": True}),
    "passed on": (200, "/v2.1/t1/servers/7", {}),
    "passed on where nothing is stored": (200, "/v2.1/t1/images/i1/metadata/label", {"cached": False}),
    "refused for another reason": (403, "/v2.1/t2/servers/7", {}),
}


@pytest.mark.parametrize("name", READS)
async def test_a_read_that_came_before_is_held_to_what_runs_everywhere(name: str) -> None:
    status, path, configured = READS[name]
    store = Store()
    here, there = SharedRunning(store), SharedRunning(store)
    options: dict[str, Any] = {"shared": here, "rules": (), **configured}
    async with upstream(answers(OK)) as origin:
        front = Front(origin, fast=True, read_timeout=60, configured=options)
        octets = request(path=path, fields=ALICE)

        async def statuses(number: int) -> list[int]:
            front.line.wire.written.clear()
            for _ in range(number):
                await front.send(octets)
            return [int(found) for found in re.findall(rb"HTTP/1.1 (\d+)", b"".join(front.line.wire.written))]

        full = 413 if status == 200 else status
        assert await statuses(3) == [status] * 3
        await until(lambda: store.of(PROJECT) == 0)
        slots = [await there.enter(PROJECT, MAXIMUM) for _ in range(MAXIMUM)]
        assert await statuses(3) == [full] * 3

        store.available = False  # each process counts by itself: here nothing runs
        assert await statuses(3) == [status] * 3
        store.available = True
        assert await statuses(3) == [full] * 3

        for slot in slots:
            there.leave(PROJECT, slot or b"")
        await until(lambda: store.of(PROJECT) == 0)
        assert await statuses(3) == [status] * 3
        await until(lambda: store.of(PROJECT) == 0)
        assert len(here) == len(front.line.concurrent) == 0
        await front.forward.close()


async def test_a_read_that_came_before_and_must_ask_is_charged_to_its_rates_once() -> None:
    store = Store()
    async with upstream(answers(OK)) as origin:
        configured = {"shared": SharedRunning(store), "early": True}
        front = Front(origin, fast=True, read_timeout=60, configured=configured)
        for octets in [request(fields=ALICE), request(path="/v2.1/t1/servers/7", fields=ALICE)] * 4:
            await front.send(octets)
            store.available = not store.available  # so that heads are remembered
        written = b"".join(front.line.wire.written)
        assert re.findall(rb'"reads";r=(\d+)', written) == [b"%d" % left for left in range(11, 3, -1)]
        assert re.findall(rb'"attempts";r=(\d+)', written) == [b"%d" % left for left in range(14, 10, -1)]
        await front.forward.close()


@pytest.mark.parametrize("turns", range(4))
async def test_a_read_that_is_cancelled_while_it_waits_gives_its_place_back(turns: int) -> None:
    store = Store()
    here = SharedRunning(store)
    async with upstream(answers(OK)) as origin:
        front = Front(origin, fast=True, read_timeout=60, configured={"shared": here})
        await front.send(request(fields=ALICE))  # the token is known from now on
        front.line.protocol.data_received(request(path="/v2.1/t1/servers/7", fields=ALICE))
        tasks = list(front.line.protocol.tasks)
        assert len(front.line.concurrent) == len(tasks) == 1
        for _ in range(turns):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()

        await until(lambda: len(front.line.log.lines) == 2)
        await until(lambda: store.of(PROJECT) == len(here) == len(front.line.concurrent) == 0)
        await front.forward.close()
