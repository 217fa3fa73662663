"""The line: checks that are asked once each, and an origin behind them."""

import asyncio
import gc
import weakref
from pathlib import Path

import pytest
from starlette.types import Receive, Scope, Send

from metaproxy.app import create_app
from metaproxy.asgi import ResponseAborted
from metaproxy.check import Check
from metaproxy.exchange import SCOPE_KEY, ClientDisconnected, Exchange
from metaproxy.filters.concurrency import ConcurrencyLimit
from metaproxy.filters.guard import Guard
from metaproxy.filters.request_body import RequestBodyLimit
from metaproxy.filters.trace import Trace
from metaproxy.line import Line
from metaproxy.protocol.faults import Fault
from metaproxy.telemetry.metrics import Metrics
from metaproxy.telemetry.requests import RequestRecord
from metaproxy.verdicts import PASS, Answer, Verdict, Wait
from tests.asgi_driver import drive, make_scope
from tests.unit.assembly.configured import STATIC, config

REFUSED = Fault(403, "Not you.", reason="not_you")


class Says(Check):
    """Returns the same verdict about every request, at once or after a wait; keeps how often it was asked."""

    def __init__(self, verdict: Verdict = PASS, *, waits: bool = False) -> None:
        self.verdict = verdict
        self.waits = waits
        self.asked = 0

    def decide(self, exchange: Exchange, scope: Scope) -> Verdict:
        self.asked += 1
        return Wait(self._later) if self.waits else self.verdict

    async def _later(self) -> Verdict:
        await asyncio.sleep(0)
        return self.verdict


class Origin:
    """Answers 200, or raises; keeps how many requests came."""

    def __init__(self, error: BaseException | None = None, *, begins: bool = False) -> None:
        self.error, self.begins, self.came = error, begins, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.came += 1
        if self.begins or self.error is None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        if self.error is not None:
            raise self.error
        await send({"type": "http.response.body", "body": b"ok"})


def line(*checks: Check, origin: Origin | None = None) -> Line:
    return Line([("check", check) for check in checks], origin or Origin())


async def test_every_check_is_asked_once_though_one_must_wait() -> None:
    checks = [Says(), Says(waits=True), Says(), Says(waits=True)]
    origin = Origin()

    answer = await drive(line(*checks, origin=origin), "GET", "/")

    assert (answer.status, origin.came) == (200, 1)
    assert [check.asked for check in checks] == [1] * 4


def test_a_request_that_must_wait_goes_on_behind_the_check_that_waits() -> None:
    waiting, behind = Says(waits=True), Says()
    checked = line(Says(), waiting, behind)
    exchange, scope = Exchange("req-1", 0.0), make_scope("GET", "/")

    assert isinstance(checked.go_on(exchange, scope), Wait)
    assert (exchange.place, behind.asked) == (2, 0)
    assert checked.go_on(exchange, scope) is PASS
    assert (waiting.asked, behind.asked) == (1, 1)


@pytest.mark.parametrize("waits", [False, True])
async def test_a_refusal_ends_the_request_where_it_is(waits: bool) -> None:
    behind, origin = Says(), Origin()

    answer = await drive(line(Says(REFUSED, waits=waits), behind, origin=origin), "GET", "/")

    assert (answer.status, behind.asked, origin.came) == (403, 0, 0)
    assert (answer.exchange.outcome, answer.exchange.reason) == ("refused", "not_you")


@pytest.mark.parametrize("waits", [False, True])
async def test_a_check_can_answer_in_place_of_the_origin(waits: bool) -> None:
    origin = Origin()
    said = Answer(204, [(b"x-said", b"1")])

    answer = await drive(line(Says(said, waits=waits), origin=origin), "GET", "/")

    assert (answer.status, answer.header("x-said"), answer.body, origin.came) == (204, "1", b"", 0)
    assert answer.exchange.outcome == "answered"


async def test_a_refusal_that_requests_share_keeps_none_of_them_alive() -> None:
    shared = Fault(403, "Not you.", reason="not_you")
    kept = weakref.ref((await drive(line(Says(shared)), "GET", "/")).exchange)
    gc.collect()

    assert shared.__traceback__ is None
    assert kept() is None


def test_a_wait_that_is_dropped_has_asked_nobody() -> None:
    asked = []

    async def ask() -> Verdict:
        asked.append(1)
        return PASS

    wait = Wait(ask)
    del wait
    gc.collect()  # a coroutine that was never awaited would warn now

    assert asked == []


@pytest.mark.parametrize(
    ("error", "begins"),
    [
        (None, False),
        (LookupError(), False),
        (LookupError(), True),
        (ClientDisconnected(), False),
        (ClientDisconnected(), True),
        (asyncio.CancelledError(), False),
        (REFUSED, False),
    ],
)
@pytest.mark.parametrize("is_traced", [True, False])
async def test_a_request_is_no_longer_counted_as_running_however_it_ends(
    error: BaseException | None, begins: bool, is_traced: bool
) -> None:
    limit = ConcurrencyLimit(max=2)
    checked = line(limit, origin=Origin(error, begins=begins))

    try:
        await drive(Trace(checked) if is_traced else checked, "GET", "/")
    except (ResponseAborted, asyncio.CancelledError):
        assert error is not None

    assert len(limit) == 0


async def test_a_request_that_a_later_check_refuses_is_not_counted_as_running() -> None:
    limit = ConcurrencyLimit(max=2)

    assert (await drive(line(limit, Says(REFUSED)), "GET", "/")).status == 403

    assert len(limit) == 0


async def test_a_request_whose_record_fails_is_no_longer_counted_as_running() -> None:
    class Full(RequestRecord):
        def ended(self, *_ended: object) -> None:
            raise OSError("no room")

    limit = ConcurrencyLimit(max=2)

    with pytest.raises(OSError, match="no room"):
        await drive(Trace(line(limit), record=Full(Metrics())), "GET", "/")

    assert len(limit) == 0


async def test_a_body_of_unknown_length_is_counted_while_the_origin_reads_it() -> None:
    async def reads(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            continue
        await Origin()(scope, receive, send)

    checked = Line([("limit", RequestBodyLimit(max_bytes=4)), ("after", Says())], reads)
    fields = [("Transfer-Encoding", "chunked")]

    assert (await drive(checked, "POST", "/", fields, [b"12", b"34"])).status == 200
    assert (await drive(checked, "POST", "/", fields, [b"12", b"345"])).status == 413


async def test_a_stage_without_an_application_says_that_it_has_none() -> None:
    with pytest.raises(RuntimeError, match="without an application"):
        await Guard()(make_scope("GET", "/") | {SCOPE_KEY: Exchange("r", 0.0)}, _nothing, _nowhere)


async def test_the_order_of_the_line_is_written_in_one_place(tmp_path: Path) -> None:
    everything = """
headers: {response: {add: [{name: X-A, value: b}]}}
cors: {origins: ["https://horizon.example"]}
limits:
  rates:
    - {name: attempts, per: [address], before: identity, rate: 2/day}
  absolute: {request_body: 1MiB, concurrent: {max: 2}}
"""
    app = create_app(config(tmp_path, STATIC, everything))

    assert [type(check).__name__ for check in app.line.checks] == [
        "Guard",
        "EditHeaders",
        "Cors",
        "RateLimit",
        "Authenticate",
        "Authorize",
        "RequestBodyLimit",
        "ConcurrencyLimit",
        "RateLimit",
    ]


async def _nothing() -> dict[str, object]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _nowhere(_message: object) -> None:
    """Take what is sent."""
