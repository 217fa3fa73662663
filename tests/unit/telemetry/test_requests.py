import json
import os

import pytest

from metaproxy.exchange import Exchange, Identity
from metaproxy.telemetry.access_log import AccessLog
from metaproxy.telemetry.metrics import Metrics
from metaproxy.telemetry.requests import RequestRecord


async def test_a_line_tells_who_what_how_and_why() -> None:
    reader, writer = os.pipe()
    log = AccessLog(writer)
    exchange = Exchange(
        request_id="req-1", started=0.0, client_address="192.0.2.1", route="/images/{image_id}"
    )
    exchange.identity = Identity(user_id="u", project_id="p")
    exchange.outcome, exchange.reason = "refused", "rate_exceeded"
    exchange.waited("store", 0.2500000049, begun=0.1)

    RequestRecord(Metrics(), log, time=lambda: 1000.0).ended(exchange, "GET", "/images/7", 413, 12, 0.5)
    await log.close()

    line = json.loads(os.read(reader, 10000))
    assert line == {
        "time": 1000.0,
        "event": "request",
        "request_id": "req-1",
        "global_request_id": "",
        "client": "192.0.2.1",
        "method": "GET",
        "path": "/images/7",
        "route": "/images/{image_id}",
        "status": 413,
        "outcome": "refused",
        "reason": "rate_exceeded",
        "cache": "",
        "project": "p",
        "user": "u",
        "bytes": 12,
        "seconds": 0.5,
        "waits": {"store": 0.25},
        "upstream": "",
        "upstream_request_id": "",
    }
    os.close(reader)
    os.close(writer)


def test_a_method_that_nobody_knows_is_no_label() -> None:
    metrics = Metrics()

    RequestRecord(metrics).ended(Exchange(request_id="r", started=0.0), "X" * 50, "/", 501, 0, 0.0)

    assert [labels[1] for labels in metrics.counter("metaproxy_requests", "").values] == ["other"]


def test_counts_can_be_asked_for_by_outcome_and_by_reason() -> None:
    record = RequestRecord(Metrics())

    record.ended(Exchange("req-1", 0.0, outcome="hit"), "GET", "/", 200, 0, 0.1)
    record.ended(Exchange("req-2", 0.0, outcome="refused", reason="token_unknown"), "GET", "/", 401, 0, 0.1)

    assert record.by_outcome() == {"hit": 1, "refused": 1}
    assert record.by_reason() == {"token_unknown": 1}


@pytest.mark.parametrize(
    ("status", "chance", "lines"), [(200, 0.4, 1), (200, 0.6, 0), (404, 0.6, 1), (503, 0.6, 1), (0, 0.6, 1)]
)
async def test_of_requests_that_went_well_a_share_gets_a_line(status: int, chance: float, lines: int) -> None:
    reader, writer = os.pipe()
    log = AccessLog(writer)
    record = RequestRecord(Metrics(), log, sample=0.5, chance=lambda: chance)

    record.ended(Exchange("req-1", 0.0), "GET", "/", status, 0, 0.1)
    await log.close()
    os.close(writer)

    assert len(os.read(reader, 10000).splitlines()) == lines
    os.close(reader)


async def test_a_prepared_record_tells_what_is_told_of_the_request_itself() -> None:
    told = []
    for is_prepared in (False, True):
        reader, writer = os.pipe()
        log, metrics = AccessLog(writer), Metrics()
        record = RequestRecord(metrics, log, time=lambda: 1000.12345)
        exchange = Exchange("req-1", 0.0, client_address="192.0.2.1", route="/images/{image_id}")
        exchange.identity = Identity(user_id="u", project_id="p")
        prepared = record.prepared(exchange, "GET", "/images/7")
        for status, outcome, reason in (
            (200, "hit", ""),
            (413, "refused", "rate_exceeded"),
            (200, "hit", ""),
        ):
            exchange.outcome, exchange.reason, exchange.cache_status = outcome, reason, "metaproxy; hit"
            if is_prepared:
                prepared.ended("req-1", status, outcome, reason, "metaproxy; hit", 12, 0.0123456789)
            else:
                record.ended(exchange, "GET", "/images/7", status, 12, 0.0123456789)
        await log.close()
        samples = [(s.name, s.labels, s.value) for family in metrics.collect() for s in family.samples]
        told.append((os.read(reader, 10000), samples))
        os.close(reader)
        os.close(writer)

    assert told[0] == told[1]
    assert b'"seconds":0.012346,' in told[0][0]
