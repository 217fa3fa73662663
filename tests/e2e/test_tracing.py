"""Traces go through: the client's traceparent to the upstream, our span to the collector."""

import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from metaproxy.demo.world import ALICE
from tests.e2e.deployment import ITEM, Sections, running_proxy
from tests.e2e.processes import wait_until
from tests.e2e.sockets import ScriptedUpstream

pytest.importorskip("opentelemetry.proto", reason="the extra otel is not installed")

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

pytestmark = pytest.mark.e2e

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Collector(ThreadingHTTPServer):
    """Takes spans over OTLP and keeps them."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.spans: list[Any] = []


class Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        told = ExportTraceServiceRequest.FromString(body)
        self.server.spans += [
            span for resource in told.resource_spans for scope in resource.scope_spans for span in scope.spans
        ]
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        threading.Thread(target=collector.serve_forever, daemon=True).start()
        yield collector
        collector.shutdown()


STAGES = ["guard", "authenticate", "authorize", "limit", "cache", "forward"]


def test_a_trace_goes_on_to_the_upstream_and_our_spans_to_the_collector(
    tmp_path: Path, identity: str, collector: Collector
) -> None:
    sections: Sections = {"tracing": {"otlp_endpoint": collector.url, "sample": 0.0}}
    with ScriptedUpstream() as upstream:
        with (
            running_proxy(tmp_path, upstream=upstream.url, identity=identity, sections=sections) as proxy,
            proxy.client(ALICE) as alice,
        ):
            alice.get(ITEM, headers={"traceparent": TRACEPARENT, "tracestate": "vendor=1"})
            alice.get(ITEM)
        wait_until(lambda: bool(collector.spans), what="the spans")

        head = upstream.heads[0].decode().lower()

    assert f"\r\ntraceparent: {TRACEPARENT}\r\n" in head
    assert "\r\ntracestate: vendor=1\r\n" in head
    *inside, span = collector.spans
    assert span.trace_id.hex() == TRACEPARENT.split("-")[1]
    assert span.parent_span_id.hex() == TRACEPARENT.split("-")[2]
    assert span.name == "GET /v2.1/{tenant_id}/images/{image_id}/metadata/{key}"
    assert {part.trace_id for part in inside} == {span.trace_id}
    assert below(span, inside) == STAGES
    names = {part.span_id: part.name for part in inside}
    waits = {part.name: names[part.parent_span_id] for part in inside if part.name not in STAGES}
    assert waits == {"identity": "authenticate", "upstream": "forward"}


def below(span: Any, spans: list[Any]) -> list[str]:
    """The names of the stages, each inside the one before it, the first inside ``span``."""
    inside = {part.parent_span_id: part for part in spans if part.name in STAGES}
    names = []
    while (span := inside.get(span.span_id)) is not None:
        names.append(span.name)
    return names


def test_a_hit_that_is_sampled_has_its_stages_too(
    tmp_path: Path, compute: str, identity: str, collector: Collector
) -> None:
    sections: Sections = {"tracing": {"otlp_endpoint": collector.url, "sample": 0.0}}
    with running_proxy(tmp_path, upstream=compute, identity=identity, sections=sections) as proxy:
        with proxy.client(ALICE) as alice:
            alice.get(ITEM)
            hit = alice.get(ITEM, headers={"traceparent": TRACEPARENT})
        proxy.server.terminate()
        assert proxy.server.wait() == 0

    assert "; hit" in hit.headers["cache-status"]
    *inside, span = collector.spans
    assert below(span, inside) == STAGES[:-1]
