import re
from urllib.parse import unquote

import pytest
from starlette.types import Receive, Scope, Send

from metaproxy.asgi import ResponseAborted
from metaproxy.exchange import ClientDisconnected, Exchange, exchange_of
from metaproxy.filters.trace import Trace
from metaproxy.protocol.faults import Fault
from metaproxy.protocol.mount import Mount
from metaproxy.protocol.routes import RouteTable
from metaproxy.protocol.signature import Signature
from metaproxy.telemetry.dates import DateField
from metaproxy.telemetry.metrics import Metrics
from metaproxy.telemetry.requests import RequestRecord
from tests.asgi_driver import drive

UUID4 = re.compile(r"req-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
VIA = b"1.1 metaproxy (metaproxy/0.1.0)"


class Line:
    """An application that answers with given headers, or raises."""

    def __init__(
        self, *headers: tuple[bytes, bytes], error: Exception | None = None, late: bool = False
    ) -> None:
        self.headers, self.error, self.late = list(headers), error, late

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange_of(scope).response_headers.append((b"x-left", b"behind"))
        if self.error and not self.late:
            raise self.error
        await send({"type": "http.response.start", "status": 200, "headers": self.headers})
        if self.error:
            raise self.error
        await send({"type": "http.response.body", "body": b"12345"})


def traced(line: Line, metrics: Metrics | None = None) -> Trace:
    routes: RouteTable[object] = RouteTable()
    routes.add("/images/{image_id}", None)
    record = RequestRecord(metrics or Metrics())
    return Trace(line, signature=Signature(VIA), routes=routes, record=record, date=DateField(lambda: 0.0))


async def test_every_answer_carries_a_fresh_request_id() -> None:
    app = traced(Line())

    ids = [(await drive(app, "GET", "/")).header("x-compute-request-id") or "" for _ in range(50)]

    assert all(UUID4.fullmatch(request_id) for request_id in ids)
    assert len(set(ids)) == 50


async def test_our_request_id_stands_in_place_of_the_upstreams() -> None:
    answer = await drive(traced(Line((b"x-compute-request-id", b"req-upstream"))), "GET", "/")

    assert answer.all("x-compute-request-id") == [answer.exchange.request_id]


@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        ("/compute/images/i1", "/images/i1"),
        ("/compute", "/"),
        ("/%63ompute/images/i1", "/images/i1"),
        ("/images/i1", "/images/i1"),
    ],
)
async def test_stages_see_the_path_without_the_prefix_and_the_log_has_it_as_it_was_sent(
    sent: str, seen: str
) -> None:
    paths: list[str] = []
    logged: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        paths.append(scope["path"])
        await Line()(scope, receive, send)

    class Record(RequestRecord):
        def ended(
            self, exchange: Exchange, method: str, path: str, status: int, body_bytes: int, seconds: float
        ) -> None:
            logged.append(path)

    await drive(Trace(app, record=Record(Metrics()), mount=Mount("/compute")), "GET", sent)

    assert paths == [seen]
    assert logged == [unquote(sent)]


async def test_via_stands_after_the_upstreams_own() -> None:
    answer = await drive(traced(Line((b"via", b"1.1 inner"))), "GET", "/")

    assert answer.all("via") == ["1.1 inner", VIA.decode()]


@pytest.mark.parametrize(
    ("headers", "date"),
    [
        ([], "Thu, 01 Jan 1970 00:00:00 GMT"),
        ([(b"date", b"Wed, 15 Jul 2015 16:41:34 GMT")], "Wed, 15 Jul 2015 16:41:34 GMT"),
    ],
)
async def test_an_answer_has_one_date(headers: list[tuple[bytes, bytes]], date: str) -> None:
    answer = await drive(traced(Line(*headers)), "GET", "/")

    assert answer.all("date") == [date]


async def test_headers_that_stages_left_on_the_exchange_are_written() -> None:
    assert (await drive(traced(Line()), "GET", "/")).header("x-left") == "behind"


async def test_a_fault_becomes_an_answer_with_everything_that_answers_carry() -> None:
    line = Line(error=Fault(413, "Slow down.", reason="rate_exceeded", retry_after=3))

    answer = await drive(traced(line), "GET", "/")

    assert answer.status == 413
    assert answer.header("retry-after") == "3"
    assert answer.header("content-type") == "application/json"
    assert answer.header("content-length") == str(len(answer.body))
    assert answer.header("via") == VIA.decode()
    assert answer.header("x-left") == "behind"


async def test_the_answer_to_head_has_no_body_but_its_length() -> None:
    answer = await drive(traced(Line(error=Fault(404, "No.", reason="test"))), "HEAD", "/")

    assert answer.body == b""
    assert int(answer.header("content-length") or 0) > 0


async def test_a_defect_is_a_500_that_tells_nothing_of_the_inside() -> None:
    answer = await drive(traced(Line(error=RuntimeError("secret detail"))), "GET", "/")

    assert answer.status == 500
    assert b"secret" not in answer.body
    assert (answer.exchange.outcome, answer.exchange.reason) == ("failed", "defect")


@pytest.mark.parametrize("error", [RuntimeError("x"), Fault(502, "x", reason="upstream_reset")])
async def test_an_answer_that_breaks_off_never_looks_complete(error: Exception) -> None:
    app = traced(Line(error=error, late=True))

    with pytest.raises(ResponseAborted):
        await drive(app, "GET", "/")


REQUESTS = "metaproxy_requests"


@pytest.mark.parametrize(
    ("line", "labels"),
    [
        (Line(), ("/images/{image_id}", "GET", "200", "forwarded", "")),
        (
            Line(error=Fault(403, "x", reason="tenant")),
            ("/images/{image_id}", "GET", "403", "refused", "tenant"),
        ),
        (
            Line(error=Fault(502, "x", reason="upstream_refused")),
            ("/images/{image_id}", "GET", "502", "failed", "upstream_refused"),
        ),
        (
            Line(error=ClientDisconnected()),
            ("/images/{image_id}", "GET", "0", "aborted", "client_disconnected"),
        ),
    ],
)
async def test_every_way_to_end_is_counted_with_its_reason(line: Line, labels: tuple[str, ...]) -> None:
    metrics = Metrics()

    await drive(traced(line, metrics), "GET", "/images/7")

    assert metrics.counter(REQUESTS, "").values == {labels: 1}


async def test_a_path_that_no_template_matches_is_counted_as_other() -> None:
    metrics = Metrics()

    await drive(traced(Line(), metrics), "GET", "/anything/at/all")

    assert [labels[0] for labels in metrics.counter(REQUESTS, "").values] == ["other"]


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("req-11111111-2222-4333-8444-555555555555", "req-11111111-2222-4333-8444-555555555555"),
        ("nonsense", ""),
        ("req-11111111-2222-4333-8444-555555555555\n", ""),
    ],
)
async def test_a_global_request_id_is_believed_if_it_is_one(sent: str, kept: str) -> None:
    answer = await drive(traced(Line()), "GET", "/", headers=[("X-OpenStack-Request-ID", sent)])

    assert answer.exchange.global_request_id == kept


async def test_other_scopes_pass_untouched() -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    await Trace(app)({"type": "lifespan"}, None, None)  # type: ignore[arg-type] # never used

    assert seen == ["lifespan"]
