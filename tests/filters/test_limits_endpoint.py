import json
from collections.abc import Iterable
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from metaproxy.filters.limit import RateLimit
from metaproxy.filters.limits_endpoint import MAX_UPSTREAM_BYTES, LimitsEndpoint
from metaproxy.filters.rates import Rates
from metaproxy.protocol.faults import Fault
from metaproxy.protocol.limits.representation import parse
from tests.asgi_driver import Answer, drive
from tests.filters.limiting import EPOCH, FakeClock, Identified, Upstream, body_of, rate

PATH = "/v2.1/{tenant_id}/limits"
NOVA = json.dumps({"limits": {"rate": [], "absolute": {"maxImageMeta": 128, "maxServerMeta": 64}}}).encode()
ALICE = [("x-project", "p1"), ("x-user", "alice")]


class Line:
    """The rate limit and the limits endpoint in front of ``upstream``."""

    def __init__(self, upstream: Any = None, *, absolute: dict[str, int] | None = None) -> None:
        self.clock = FakeClock()
        self.upstream = Upstream(NOVA) if upstream is None else upstream
        images = rate(
            "images",
            limit=10,
            path="/v2.1/{tenant_id}/images/**",
            methods=(
                "HEAD",
                "GET",
            ),
        )
        rates = Rates([images, rate("all", limit=5)], endpoint=PATH, monotonic=self.clock)
        endpoint = LimitsEndpoint(
            self.upstream, rates=rates, path=PATH, absolute=absolute, wall=lambda: EPOCH
        )
        self.app = Identified(RateLimit(endpoint, rates=rates))

    async def get(
        self, path: str = "/v2.1/p1/limits", headers: Iterable[tuple[str, str]] = (), method: str = "GET"
    ) -> Answer:
        return await drive(self.app, method, path, [*ALICE, *headers])


async def test_the_answer_lists_the_rates_of_the_caller() -> None:
    line = Line()
    await line.get("/v2.1/p1/images/1")
    assert body_of(await line.get())["limits"]["rate"] == [
        {
            "uri": "/v2.1/{tenant_id}/images/**",
            "regex": "^/v2\\.1/([^/]+)/images(/.*)?$",
            "limit": [
                {
                    "verb": verb,
                    "value": 10,
                    "remaining": 9,
                    "unit": "MINUTE",
                    "next-available": "2026-11-25T12:00:00Z",
                }
                for verb in ("GET", "HEAD")
            ],
        },
        {
            "uri": "*",
            "regex": ".*",
            "limit": [
                {
                    "verb": "ALL",
                    "value": 5,
                    "remaining": 4,
                    "unit": "MINUTE",
                    "next-available": "2026-11-25T12:00:00Z",
                }
            ],
        },
    ]


async def test_next_available_is_when_the_next_request_fits() -> None:
    line = Line()
    for _ in range(5):
        await line.get("/elsewhere")
    told = body_of(await line.get())["limits"]["rate"][1]["limit"][0]
    assert (told["remaining"], told["next-available"]) == (0, "2026-11-25T12:00:12Z")


async def test_asking_is_never_charged() -> None:
    line = Line()
    answers = [await line.get() for _ in range(20)]
    assert {answer.status for answer in answers} == {200}
    assert body_of(answers[-1])["limits"]["rate"][1]["limit"][0]["remaining"] == 5


async def test_absolute_limits_come_from_the_upstream_and_from_us_the_stricter_wins() -> None:
    answer = await Line(absolute={"maxImageMeta": 40, "maxServerMeta": 99, "ours": 1}).get()
    assert body_of(answer)["limits"]["absolute"] == {"maxImageMeta": 40, "maxServerMeta": 64, "ours": 1}


XML_NOVA = (
    b'<limits xmlns="http://docs.openstack.org/common/api/v1.0"><rates/>'
    b'<absolute><limit name="maxServerMeta" value="64"/></absolute></limits>'
)


class Down:
    """An upstream that fails as ``error`` says."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise self._error


class Typed(Upstream):
    """An upstream that answers ``body`` as ``content_type``."""

    def __init__(self, body: bytes, content_type: bytes) -> None:
        super().__init__(body)
        self.headers = [(b"content-type", content_type)]


@pytest.mark.parametrize(
    "upstream",
    [
        Down(Fault(503, "down", reason="upstream_down")),
        Down(Fault(504, "slow", reason="upstream_timeout")),
        Upstream(NOVA, status=500),
        Upstream(NOVA, status=404),
        Upstream(NOVA, status=302),
        Upstream(b"<html>"),
        Upstream(b'{"limits": null}'),
        Upstream(b" " * (MAX_UPSTREAM_BYTES + 1)),
        Typed(NOVA, b"text/html"),
    ],
)
async def test_without_an_answer_of_the_upstream_ours_stands_alone(upstream: Any) -> None:
    answer = await Line(upstream, absolute={"maxImageMeta": 40}).get()
    limits = body_of(answer)["limits"]
    assert answer.status == 200
    assert len(limits["rate"]) == 2
    assert limits["absolute"] == {"maxImageMeta": 40}


async def test_a_fault_that_is_the_callers_is_not_hidden() -> None:
    answer = await Line(Down(Fault(413, "too much", reason="concurrency_exceeded"))).get()
    assert answer.status == 413


@pytest.mark.parametrize(
    ("path", "accept"), [("/v2.1/p1/limits", "application/xml"), ("/v2.1/p1/limits.xml", "*/*")]
)
@pytest.mark.parametrize("upstream", [Upstream(NOVA), Typed(XML_NOVA, b"application/xml")])
async def test_who_asks_for_xml_gets_xml_whatever_the_upstream_speaks(
    upstream: Any, path: str, accept: str
) -> None:
    answer = await Line(upstream).get(path, [("accept", accept)])
    assert answer.header("content-type") == "application/xml"
    limits = parse(answer.body, b"application/xml") or {}
    assert len(limits["rate"]) == 2
    assert limits["absolute"]["maxServerMeta"] == 64


async def test_an_upstream_that_speaks_xml_is_told_in_json_to_who_wants_json() -> None:
    limits = body_of(await Line(Typed(XML_NOVA, b"application/xml")).get())["limits"]
    assert limits["absolute"] == {"maxServerMeta": 64}


async def test_head_is_the_head_of_the_answer() -> None:
    line = Line()
    head = await line.get(method="HEAD")
    assert head.body == b""
    assert head.header("content-length") == str(len((await line.get()).body))
    assert line.upstream.scopes[0]["method"] == "GET"


async def test_the_upstream_is_asked_for_a_whole_and_readable_answer() -> None:
    line = Line()
    await line.get(headers=[("if-none-match", '"x"'), ("accept-encoding", "gzip"), ("x-keep", "1")])
    names = [name for name, _ in line.upstream.scopes[0]["headers"]]
    assert names == [b"x-project", b"x-user", b"x-keep"]


async def test_the_upstreams_head_is_kept_but_for_what_describes_its_body() -> None:
    head = [(b"x-compute-request-id", b"req-1"), (b"vary", b"a"), (b"vary", b"b"), (b"etag", b'"x"')]
    answer = await Line(
        Upstream(NOVA, headers=[*head, (b"content-length", b"5"), (b"connection", b"x")])
    ).get()
    assert answer.header("x-compute-request-id") == "req-1"
    assert answer.all("vary") == ["a", "b"]
    assert answer.header("etag") is None
    assert answer.header("content-length") == str(len(answer.body))


async def test_other_methods_on_the_endpoint_pass_and_are_charged() -> None:
    line = Line()
    answer = await line.get(method="POST")
    assert answer.body == NOVA
    assert answer.header("ratelimit") == '"all";r=4;t=12'


async def test_a_rule_by_tenant_in_the_path_is_told_for_that_tenant() -> None:
    rule = rate("t", limit=9, path="/v2.1/{tenant_id}/images/**", per=("project", "tenant_id"))
    rates = Rates([rule], endpoint=PATH)
    app = Identified(RateLimit(LimitsEndpoint(Upstream(NOVA), rates=rates, path=PATH), rates=rates))
    await drive(app, "GET", "/v2.1/p1/images/1", ALICE)
    told = body_of(await drive(app, "GET", "/v2.1/p1/limits", ALICE))["limits"]["rate"][0]
    assert told["limit"][0]["remaining"] == 8


async def test_several_paths_may_be_the_endpoint() -> None:
    app = LimitsEndpoint(Upstream(NOVA), rates=Rates([]), path=("/limits", "/v2.1/limits"))
    for path in ("/limits", "/v2.1/limits"):
        assert (await drive(app, "GET", path)).exchange.outcome == "answered"


@pytest.mark.parametrize(
    ("path", "kinds"), [("/v2/{tenant_id}/limits", True), ("/v2/{id:[0-9]+}/limits", False)]
)
def test_it_tells_whether_paths_of_a_kind_are_all_its_own(path: str, kinds: bool) -> None:
    assert LimitsEndpoint(Upstream(NOVA), rates=Rates([]), path=path).concerns_kinds is kinds
