from pathlib import Path

import pytest

from tests.asgi_driver import drive
from tests.unit.admin.operated import Operated, told
from tests.unit.assembly.configured import STATIC

RATES = """
limits:
  rates:
    - {name: reads, path: "/v2.1/{tenant_id}/**", methods: [GET], per: [project], rate: 2/minute, burst: 2}
"""
CONSUMER = "project:t1"


@pytest.fixture
async def busy(tmp_path: Path) -> Operated:
    """Alice's project has sent three requests, one too many."""
    operated = Operated(tmp_path, STATIC, RATES)
    for _ in range(3):
        await read(operated)
    return operated


async def read(operated: Operated) -> int:
    fields = [("host", "api"), ("x-auth-token", "alice-token")]
    return (await drive(operated.application, "GET", "/v2.1/t1/images", fields)).status


async def test_the_rates_are_told(busy: Operated) -> None:
    (rule,) = told(await busy.get("/limits"))["rules"]

    assert (rule["name"], rule["limit"], rule["unit"], rule["burst"]) == ("reads", 2, "minute", 2)
    assert (rule["methods"], rule["per"]) == (["GET", "HEAD"], ["project"])


async def test_how_many_may_run_at_once_is_told(busy: Operated, tmp_path: Path) -> None:
    limited = Operated(tmp_path, STATIC, "limits: {absolute: {concurrent: {max: 7}}}")

    assert told(await busy.get("/limits"))["concurrent"] is None
    assert told(await limited.get("/limits"))["concurrent"] == {
        "per": "project",
        "max": 7,
        "shared": False,
        "running": 0,
        "slots": 0,
    }


async def test_who_sends_most_is_told_and_who_is_over_its_limit(busy: Operated) -> None:
    assert told(await busy.get("/limits"))["consumers"] == [
        {"consumer": CONSUMER, "requests": 3, "refusals": 1}
    ]


async def test_after_a_reset_the_consumer_begins_anew(busy: Operated) -> None:
    before = await read(busy)

    answer = told(await busy.post("/limits/reset", {"consumer": CONSUMER}))

    assert (before, answer) == (413, {"consumer": CONSUMER, "counters": 1})
    assert await read(busy) != 413


@pytest.mark.parametrize("consumer", ["", "t1", "project:", "tenant:t1"])
async def test_a_reset_names_a_consumer(busy: Operated, consumer: str) -> None:
    assert (await busy.post("/limits/reset", {"consumer": consumer})).status == 400


@pytest.mark.parametrize("top", ["0", "1001", "many"])
async def test_how_many_are_told_has_a_bound(busy: Operated, top: str) -> None:
    assert (await busy.get(f"/limits?top={top}")).status == 400
