import asyncio
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from metaproxy.filters.concurrency import ConcurrencyLimit
from metaproxy.protocol.limits.settings import Limits
from metaproxy.telemetry.metrics import Metrics
from tests.asgi_driver import Answer, drive
from tests.filters.limiting import Identified

ALICE = [("x-project", "p1")]
CAROL = [("x-project", "p2")]


class Slow:
    """An upstream that answers when it is told to."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.go.wait()
        if self.error is not None:
            raise self.error
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


class Line:
    """A concurrency limit of two in front of a slow upstream."""

    def __init__(self, **options: Any) -> None:
        self.upstream = Slow()
        self.limit = ConcurrencyLimit(self.upstream, max=2, **options)
        self.app = Identified(self.limit)

    async def begin(self, who: list[tuple[str, str]]) -> "asyncio.Task[Answer]":
        task = asyncio.ensure_future(drive(self.app, "GET", "/i", who))
        await asyncio.sleep(0)
        return task


async def test_one_too_many_at_the_same_time_is_refused() -> None:
    line = Line()
    running = [await line.begin(ALICE) for _ in range(2)]
    refused = await (await line.begin(ALICE))
    assert (refused.status, refused.header("retry-after")) == (413, "1")
    assert refused.exchange.reason == "concurrency_exceeded"
    line.upstream.go.set()
    assert [(await task).status for task in running] == [200, 200]


async def test_the_limits_endpoint_counts_because_the_upstream_is_asked_too() -> None:
    line = Line()
    running = [await line.begin(ALICE) for _ in range(2)]
    assert (await drive(line.app, "GET", "/v2.1/p1/limits", ALICE)).status == 413
    line.upstream.go.set()
    assert [(await task).status for task in running] == [200, 200]


async def test_consumers_are_counted_apart() -> None:
    line = Line()
    running = [await line.begin(who) for who in (ALICE, ALICE, CAROL, CAROL)]
    line.upstream.go.set()
    assert [(await task).status for task in running] == [200] * 4


@pytest.mark.parametrize(
    ("options", "status"), [({"limits": Limits(over_limit_status=429)}, 429), ({"per": "global"}, 503)]
)
async def test_the_status_follows_the_operator_and_the_kind(options: dict[str, Any], status: int) -> None:
    line = Line(**options)
    running = [await line.begin(ALICE) for _ in range(2)]
    assert (await (await line.begin(ALICE))).status == status
    line.upstream.go.set()
    await asyncio.gather(*running)


async def test_an_ended_request_makes_room_and_is_forgotten() -> None:
    line = Line()
    line.upstream.go.set()
    for _ in range(5):
        assert (await (await line.begin(ALICE))).status == 200
    assert len(line.limit) == 0


async def test_a_failed_request_makes_room() -> None:
    line = Line()
    line.upstream.error = OSError("broken")
    line.upstream.go.set()
    for _ in range(5):
        assert (await (await line.begin(ALICE))).status == 500
    assert len(line.limit) == 0


async def test_a_client_that_hangs_up_makes_room() -> None:
    line = Line()
    running = [await line.begin(ALICE) for _ in range(2)]
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    assert len(line.limit) == 0


async def test_what_runs_is_shown_and_refusals_are_counted() -> None:
    metrics = Metrics()
    line = Line(metrics=metrics)
    running = [await line.begin(ALICE) for _ in range(3)]
    shown = {family.name: family.samples for family in metrics.collect()}
    assert shown["metaproxy_limit_running"][0].value == 2
    assert shown["metaproxy_limit_refusals"][0].labels == {"limit": "concurrent"}
    line.upstream.go.set()
    await asyncio.gather(*running)
