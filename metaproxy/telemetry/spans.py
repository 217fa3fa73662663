"""A span for OpenTelemetry of every request that is sampled, made when the request has ended.

A client that sends ``traceparent`` (W3C Trace Context) has decided: its flag says whether the request is
sampled, and the span becomes a child of the client's. The field itself goes on to the upstream as it
came. Where there is none, chance decides. What a request waited for outside the process (identity, the
store, the upstream) is a child of its span each; the stages themselves take microseconds.

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
        time: the wall clock.

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

    def ended(self, exchange: Exchange, scope: Mapping[str, Any], status: int, seconds: float) -> None:
        """Make the span of a request that has ended, if it is sampled; ``status`` is 0 for no answer."""
        found = _traceparent(scope)
        if found is None:
            if self._chance() < self._sample:
                self._make(exchange, scope, status, seconds, None)
        elif int(found[3], 16) & SAMPLED:
            self._make(exchange, scope, status, seconds, found)

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
        self._make_waits(exchange, span, end - seconds)
        if status >= 500 or not status:
            span.set_status(StatusCode.ERROR, exchange.reason)
        span.end(int(end * NANOSECONDS))

    def _make_waits(self, exchange: Exchange, span: Any, start: float) -> None:
        from opentelemetry.trace import set_span_in_context

        inside = set_span_in_context(span)
        for stage, waited in exchange.waits.items():
            begun = start + exchange.waits_begun[stage] - exchange.started
            child = self._tracer.start_span(stage, context=inside, start_time=int(begun * NANOSECONDS))
            child.end(int((begun + waited) * NANOSECONDS))


MISSING = "tracing.otlp_endpoint needs the extra otel: pip install 'metaproxy[otel]'"


def otlp_exporter(endpoint: str) -> Any:
    """Return what sends spans to ``endpoint`` (OTLP over HTTP); raises SpansUnavailable."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError as error:
        raise SpansUnavailable(MISSING) from error
    return OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces")


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
        "url.path": scope["path"],
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
