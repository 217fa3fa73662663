"""Spans for OpenTelemetry of every request that is sampled, made when the request has ended.

A client that sends ``traceparent`` (W3C Trace Context) has decided: its flag says whether the request is
sampled, and the request's span becomes a child of the client's. The field itself goes on to the upstream as
it came. Without it, chance decides. Below the request's span stands one for each stage that it came
to, each inside the one before it, and in the stage that waited one for what it waited for outside the
process (identity, the store, the upstream). A request that the fast lane has answered has its own span alone.

Needs the extra ``otel``.
"""

import asyncio
import random
import re
from collections.abc import Callable, Mapping
from typing import Any

from metaproxy.clock import Clock, wall
from metaproxy.exchange import Exchange

TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
SAMPLED = 0x01
NANOSECONDS = 1_000_000_000


class SpansUnavailable(ValueError):
    """Spans are asked for, and what makes them is not installed."""


class Spans:
    """Makes and sends spans.

    Args:
        exporter: an OpenTelemetry ``SpanExporter``; see ``otlp_exporter``.
        sample: the share of requests that get a span where the client has not decided, 0 to 1.
        chance: returns numbers from 0 to 1.

    Raises SpansUnavailable without the extra ``otel``.
    """

    def __init__(
        self,
        exporter: Any,
        *,
        sample: float,
        chance: Callable[[], float] = random.random,
        time: Clock = wall,
    ) -> None:
        try:
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError as error:
            raise SpansUnavailable(MISSING) from error
        self._provider = TracerProvider(
            resource=Resource.create({"service.name": "metaproxy"}), shutdown_on_exit=False
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("metaproxy")
        self._sample = sample
        self._chance = chance
        self._time = time

    async def start(self) -> None:
        """There is nothing to begin: spans are sent by a thread of their own."""

    async def close(self) -> None:
        """Send the rest."""
        await asyncio.to_thread(self._provider.shutdown)

    def samples(self, scope: Mapping[str, Any]) -> bool:
        """Decide whether the request of ``scope`` gets spans."""
        found = _traceparent(scope)
        return self._chance() < self._sample if found is None else bool(int(found[3], 16) & SAMPLED)

    def ended(self, exchange: Exchange, scope: Mapping[str, Any], status: int, seconds: float) -> None:
        """Make the spans of a request that has ended, if it is sampled; ``status`` is 0 for no answer."""
        if self.samples(scope) if exchange.sampled is None else exchange.sampled:
            self._make(exchange, scope, status, seconds, _traceparent(scope))

    def _make(
        self,
        exchange: Exchange,
        scope: Mapping[str, Any],
        status: int,
        seconds: float,
        client: "re.Match[bytes] | None",
    ) -> None:
        from opentelemetry.trace import SpanKind, StatusCode

        end = self._time()
        span = self._tracer.start_span(
            f"{scope['method']} {exchange.route}".rstrip(),
            context=_context(client),
            kind=SpanKind.SERVER,
            attributes=_attributes(exchange, scope, status),
            start_time=int((end - seconds) * NANOSECONDS),
        )
        self._make_children(exchange, span, end - seconds, end)
        if status >= 500 or not status:
            span.set_status(StatusCode.ERROR, exchange.reason)
        span.end(int(end * NANOSECONDS))

    def _make_children(self, exchange: Exchange, request: Any, start: float, end: float) -> None:
        """Make the spans of stages and waits, inside those in which they began."""
        from opentelemetry.trace import set_span_in_context

        open_spans = [(end, request)]
        for name, begun, ended in _parts(exchange, start, end):
            while len(open_spans) > 1 and open_spans[-1][0] <= begun:
                open_spans.pop()
            inside = set_span_in_context(open_spans[-1][1])
            span = self._tracer.start_span(name, context=inside, start_time=int(begun * NANOSECONDS))
            span.end(int(ended * NANOSECONDS))
            open_spans.append((ended, span))


MISSING = "tracing.otlp_endpoint needs the extra otel: pip install 'metaproxy[otel]'"


def otlp_exporter(endpoint: str) -> Any:
    """Return what sends spans to ``endpoint`` (OTLP over HTTP); raises SpansUnavailable."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError as error:
        raise SpansUnavailable(MISSING) from error
    return OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces")


def _parts(exchange: Exchange, start: float, end: float) -> list[tuple[str, float, float]]:
    """Stages and waits as name, begin and end, seconds since the epoch, in the order in which they began."""
    waits = [(exchange.waits_begun[name], name, waited) for name, waited in exchange.waits.items()]
    parts = [
        (stage.begun, stage.name, (stage.ended - stage.begun) if stage.ended is not None else None)
        for stage in exchange.stages or ()
    ]
    moved = start - exchange.started
    return [
        (name, begun + moved, end if took is None else begun + moved + took)
        for begun, name, took in sorted([*parts, *waits], key=lambda part: part[0])
    ]


def _traceparent(scope: Mapping[str, Any]) -> "re.Match[bytes] | None":
    for name, value in scope["headers"]:
        if name == b"traceparent":
            return TRACEPARENT.fullmatch(value)
    return None


def _context(client: "re.Match[bytes] | None") -> Any:
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

    if client is None:
        return None
    parent = SpanContext(
        int(client[1], 16), int(client[2], 16), is_remote=True, trace_flags=TraceFlags(int(client[3], 16))
    )
    return set_span_in_context(NonRecordingSpan(parent))


def _attributes(exchange: Exchange, scope: Mapping[str, Any], status: int) -> dict[str, str | int | float]:
    identity = exchange.identity
    known: dict[str, str | int | float] = {
        "http.request.method": scope["method"],
        "http.route": exchange.route,
        "http.response.status_code": status,
        "url.path": exchange.sent_path or scope["path"],
        "url.scheme": exchange.scheme,
        "client.address": exchange.client_address,
        "metaproxy.request_id": exchange.request_id,
        "metaproxy.outcome": exchange.outcome,
        "metaproxy.reason": exchange.reason,
        "metaproxy.cache": exchange.cache_status,
        "metaproxy.project": identity.project_id if identity is not None else "",
        "metaproxy.upstream": exchange.upstream,
    }
    waits = {f"metaproxy.wait.{stage}": waited for stage, waited in exchange.waits.items()}
    return {name: value for name, value in known.items() if value} | waits
