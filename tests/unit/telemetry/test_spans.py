import sys
from typing import Any

import pytest

from metaproxy.exchange import Exchange, Identity, StageTime
from metaproxy.filters.trace import Trace
from metaproxy.telemetry.spans import Spans, SpansUnavailable

pytest.importorskip("opentelemetry.sdk", reason="the extra otel is not installed")

from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


async def nowhere(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("nobody is asked")


async def made(
    traceparent: str = "", *, status: int = 200, sample: float = 1.0, exchange: Exchange | None = None
) -> list[Any]:
    """The spans of one request."""
    exporter = InMemorySpanExporter()
    spans = Spans(exporter, sample=sample, chance=lambda: 0.5, time=lambda: 1000.0)
    headers = [(b"traceparent", traceparent.encode())] if traceparent else []
    scope = {"method": "GET", "path": "/images/7", "headers": headers}
    spans.ended(exchange or Exchange("req-1", 0.0), scope, status, 0.25)
    await spans.close()
    return list(exporter.get_finished_spans())


async def test_a_span_tells_what_the_access_log_tells() -> None:
    exchange = Exchange("req-1", 0.0)
    exchange.route, exchange.outcome = "/images/{image_id}", "forwarded"
    exchange.identity = Identity(project_id="p1", user_id="u1")
    exchange.waited("upstream", 0.2, begun=0.01)

    _, span = await made(exchange=exchange)

    assert span.name == "GET /images/{image_id}"
    assert (span.start_time, span.end_time) == (999_750_000_000, 1_000_000_000_000)
    assert span.attributes["http.response.status_code"] == 200
    assert span.attributes["metaproxy.outcome"] == "forwarded"
    assert span.attributes["metaproxy.project"] == "p1"
    assert span.attributes["metaproxy.wait.upstream"] == 0.2


async def test_each_wait_is_a_child_of_the_requests_span() -> None:
    exchange = Exchange("req-1", 100.0)
    exchange.waited("identity", 0.05, begun=100.01)
    exchange.waited("upstream", 0.1, begun=100.125)

    identity, upstream, request = await made(exchange=exchange)

    assert [identity.name, upstream.name] == ["identity", "upstream"]
    assert identity.parent.span_id == upstream.parent.span_id == request.context.span_id
    assert upstream.start_time - request.start_time == pytest.approx(125_000_000, abs=1000)
    assert upstream.end_time - upstream.start_time == pytest.approx(100_000_000, abs=1000)


async def test_stages_stand_inside_each_other_and_waits_inside_the_stage_that_waited() -> None:
    exchange = Exchange("req-1", 100.0, sampled=True)
    exchange.stages = [
        StageTime("authenticate", 100.0, 100.25),
        StageTime("cache", 100.05, 100.24),
        StageTime("forward", 100.06, 100.10),
        StageTime("forward", 100.12),
    ]
    exchange.waited("identity", 0.04, begun=100.001)
    exchange.waited("upstream", 0.02, begun=100.07)

    spans = await made(exchange=exchange)

    names = {span.context.span_id: span.name for span in spans}
    inside = [(span.name, names[span.parent.span_id]) for span in spans if span.parent is not None]
    assert inside == [
        ("authenticate", "GET"),
        ("identity", "authenticate"),
        ("cache", "authenticate"),
        ("forward", "cache"),
        ("upstream", "forward"),
        ("forward", "cache"),
    ]
    *_, last_forward, request = spans
    assert last_forward.end_time == request.end_time


async def test_what_was_decided_when_the_request_came_is_not_decided_again() -> None:
    assert await made(sample=1.0, exchange=Exchange("req-1", 0.0, sampled=False)) == []
    assert len(await made(sample=0.0, exchange=Exchange("req-1", 0.0, sampled=True))) == 1


async def test_the_span_is_a_child_of_the_clients() -> None:
    (span,) = await made(f"00-{TRACE}-{PARENT}-01", sample=0.0)

    assert f"{span.context.trace_id:032x}" == TRACE
    assert f"{span.parent.span_id:016x}" == PARENT


async def test_what_the_client_does_not_sample_gets_no_span() -> None:
    assert await made(f"00-{TRACE}-{PARENT}-00", sample=1.0) == []


@pytest.mark.parametrize(("sample", "number"), [(0.0, 0), (0.4, 0), (0.6, 1), (1.0, 1)])
async def test_where_the_client_says_nothing_chance_decides(sample: float, number: int) -> None:
    assert len(await made(sample=sample)) == number


@pytest.mark.parametrize("traceparent", ["nonsense", f"ff-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}"])
async def test_a_traceparent_that_says_nothing_is_none(traceparent: str) -> None:
    (span,) = await made(traceparent)

    assert span.parent is None


@pytest.mark.parametrize(
    ("status", "code"),
    [(200, StatusCode.UNSET), (404, StatusCode.UNSET), (503, StatusCode.ERROR), (0, StatusCode.ERROR)],
)
async def test_only_our_failures_are_errors(status: int, code: StatusCode) -> None:
    (span,) = await made(status=status)

    assert span.status.status_code is code


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)

    with pytest.raises(SpansUnavailable, match=r"metaproxy\[otel\]"):
        Spans(None, sample=1.0)


async def test_what_memory_answers_again_has_a_span_of_its_own() -> None:
    exporter = InMemorySpanExporter()
    spans = Spans(exporter, sample=1.0, chance=lambda: 0.5, time=lambda: 1000.0)
    trace = Trace(nowhere, spans=spans, clock=lambda: 10.25)
    before = Exchange("req-1", 0.0, route="/images/{image_id}", identity=Identity(project_id="p1"))
    scope = {"method": "GET", "path": "/images/7", "headers": []}

    trace.prepared(before, scope).end("req-2", 10.0, 200, 12, "hit", cache_status="metaproxy; hit")
    await spans.close()

    span: Any
    [span] = exporter.get_finished_spans()
    assert span.attributes["metaproxy.outcome"] == "hit"
    assert span.attributes["metaproxy.request_id"] == "req-2"
    assert span.attributes["metaproxy.project"] == "p1"
    assert span.end_time - span.start_time == 250_000_000
