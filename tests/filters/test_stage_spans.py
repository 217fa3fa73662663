"""The times of stages, alone and on the line that a configuration describes."""

from itertools import count
from pathlib import Path

import pytest
from starlette.types import Receive, Scope, Send

from metaproxy.app import Application, create_app
from metaproxy.exchange import SCOPE_KEY, Exchange, StageTime
from metaproxy.line import TimedStage
from tests.asgi_driver import drive
from tests.unit.assembly.configured import STATIC, config


async def answers(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


async def fails(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise LookupError


def two_stages() -> TimedStage:
    clock = count(1.0).__next__
    return TimedStage("outer", TimedStage("inner", answers, clock=clock), clock=clock)


async def test_stages_are_timed_one_inside_the_other() -> None:
    exchange = Exchange("req-1", 0.0, stages=[])

    answer = await drive(two_stages(), "GET", "/", scope_extra={SCOPE_KEY: exchange})

    assert answer.body == b"ok"
    assert exchange.stages == [StageTime("outer", 1.0, 4.0), StageTime("inner", 2.0, 3.0)]


async def test_a_stage_that_raises_has_ended_too() -> None:
    exchange = Exchange("req-1", 0.0, stages=[])

    with pytest.raises(LookupError):
        await drive(TimedStage("outer", fails), "GET", "/", scope_extra={SCOPE_KEY: exchange})

    assert exchange.stages is not None
    assert exchange.stages[0].ended is not None


async def test_nothing_is_timed_of_what_is_not_sampled() -> None:
    exchange = Exchange("req-1", 0.0)

    answer = await drive(two_stages(), "GET", "/", scope_extra={SCOPE_KEY: exchange})

    assert answer.body == b"ok"
    assert exchange.stages is None


async def line(folder: Path, *sections: str) -> Application:
    """The line of a configuration, in front of an application that answers."""
    return create_app(config(folder, STATIC, *sections), answering=answers)


async def test_without_tracing_no_stage_is_wrapped(tmp_path: Path) -> None:
    app = await line(tmp_path)

    assert app.trace.app is app.line
    assert app.line.app is answers


async def test_what_is_stored_outlives_that_tracing_is_switched_on(tmp_path: Path) -> None:
    pytest.importorskip("opentelemetry.sdk", reason="the extra otel is not installed")
    route = 'cache: {routes: [{path: "/v2.1/images/{image_id}/metadata"}]}'
    before = create_app(config(tmp_path, STATIC, route))
    traced = config(tmp_path, STATIC, route, "tracing: {otlp_endpoint: http://127.0.0.1:9}")

    after = create_app(traced, before)

    assert after.cache is not None
    assert after.cache is before.cache
    assert isinstance(after.cache.app, TimedStage)
    await after.start()
    await after.close()
