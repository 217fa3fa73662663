from collections.abc import Iterable
from typing import Any

import pytest

from metaproxy.filters.limit import RateLimit
from metaproxy.filters.rates import Rates
from metaproxy.protocol.limits.rates import RateRule
from metaproxy.telemetry.metrics import Metrics
from tests.asgi_driver import Answer, drive
from tests.filters.limiting import ITEM, FakeClock, Identified, Upstream, body_of, rate

ALICE = [("x-project", "p1"), ("x-user", "alice")]
BOB = [("x-project", "p1"), ("x-user", "bob")]
CAROL = [("x-project", "p2"), ("x-user", "carol")]


class Line:
    """A limit stage behind a stage that knows who asks, in front of an upstream."""

    def __init__(self, *rules: RateRule, metrics: Metrics | None = None, **options: Any) -> None:
        self.clock = FakeClock()
        self.upstream = Upstream()
        rates = Rates(rules, monotonic=self.clock, **options)
        self.app = Identified(RateLimit(self.upstream, rates=rates, metrics=metrics))

    async def get(
        self, path: str = ITEM, who: Iterable[tuple[str, str]] = ALICE, *, method: str = "GET", **more: Any
    ) -> Answer:
        return await drive(self.app, method, path, list(who), **more)

    async def statuses(self, *requests: tuple[str, Iterable[tuple[str, str]]]) -> list[int]:
        return [(await self.get(path, who)).status for path, who in requests]


async def test_requests_within_the_rate_pass() -> None:
    line = Line(rate(limit=2))
    assert await line.statuses((ITEM, ALICE), (ITEM, ALICE)) == [200, 200]


async def test_over_the_rate_is_413_with_the_overlimit_body_and_retry_after() -> None:
    line = Line(rate(limit=2))
    await line.statuses((ITEM, ALICE), (ITEM, ALICE))
    answer = await line.get()
    assert answer.status == 413
    assert answer.header("retry-after") == "30"
    assert body_of(answer) == {
        "overLimit": {
            "code": 413,
            "message": "This request was rate-limited. Retry after 30 seconds.",
            "retryAfter": "30",
        }
    }
    assert answer.exchange.reason == "rate_exceeded"
    assert len(line.upstream.scopes) == 2


async def test_the_operator_may_choose_429() -> None:
    line = Line(rate(limit=1), over_limit_status=429)
    await line.get()
    assert (await line.get()).status == 429


async def test_waiting_for_retry_after_admits() -> None:
    line = Line(rate(limit=2))
    await line.statuses((ITEM, ALICE), (ITEM, ALICE))
    line.clock.advance(float((await line.get()).header("retry-after") or "nan"))
    assert (await line.get()).status == 200


async def test_retry_after_is_rounded_up_to_whole_seconds() -> None:
    line = Line(rate(limit=1))
    await line.get()
    line.clock.advance(0.5)
    assert (await line.get()).header("retry-after") == "60"


async def test_every_answer_tells_where_the_consumer_stands() -> None:
    line = Line(rate(limit=2, name="reads"))
    answer = await line.get()
    assert answer.header("ratelimit-policy") == '"reads";q=2;w=60'
    assert answer.header("ratelimit") == '"reads";r=1;t=30'


async def test_a_refusal_tells_it_too() -> None:
    line = Line(rate(limit=1))
    await line.get()
    answer = await line.get()
    assert answer.header("ratelimit") == '"reads";r=0;t=60'
    assert answer.header("retry-after") == "60"


async def test_the_fields_can_be_switched_off() -> None:
    answer = await Line(rate(), headers=False).get()
    assert answer.header("ratelimit") is None
    assert answer.header("ratelimit-policy") is None


async def test_a_request_that_meets_no_rule_is_told_nothing() -> None:
    answer = await Line(rate(path="/elsewhere")).get()
    assert answer.status == 200
    assert answer.header("ratelimit") is None


@pytest.mark.parametrize(
    ("per", "first", "second", "expected"),
    [
        (("project",), ALICE, BOB, [200, 413]),
        (("project",), ALICE, CAROL, [200, 200]),
        (("user",), ALICE, BOB, [200, 200]),
        (("user",), ALICE, ALICE, [200, 413]),
        (("project", "user"), ALICE, BOB, [200, 200]),
        (("address",), ALICE, CAROL, [200, 413]),
        (("global",), ALICE, CAROL, [200, 503]),
    ],
)
async def test_a_rule_counts_apart_by_what_it_names(
    per: tuple[str, ...],
    first: list[tuple[str, str]],
    second: list[tuple[str, str]],
    expected: list[int],
) -> None:
    assert await Line(rate(limit=1, per=per)).statuses((ITEM, first), (ITEM, second)) == expected


async def test_over_a_global_rate_is_503_with_retry_after() -> None:
    line = Line(rate(limit=1, per=("global",)))
    await line.get()
    answer = await line.get(who=CAROL)
    assert answer.status == 503
    assert answer.header("retry-after") == "60"
    assert answer.exchange.reason == "global_rate_exceeded"


async def test_anonymous_requests_are_counted_by_address() -> None:
    line = Line(rate(limit=1, per=("project",)))
    elsewhere = {"client": ("192.0.2.99", 1)}
    answers = [await line.get(who=()), await line.get(who=()), await line.get(who=(), scope_extra=elsewhere)]
    assert [answer.status for answer in answers] == [200, 413, 200]


async def test_a_token_without_a_project_is_counted_by_its_user() -> None:
    line = Line(rate(limit=1, per=("project",)))
    statuses = await line.statuses(
        (ITEM, [("x-user", "dave")]), (ITEM, [("x-user", "erin")]), (ITEM, [("x-user", "dave")])
    )
    assert statuses == [200, 200, 413]


async def test_a_captured_name_counts_each_image_apart() -> None:
    line = Line(rate(limit=1, path="/v2.1/{tenant_id}/images/{image_id}/**", per=("project", "image_id")))
    one, two = "/v2.1/p1/images/1", "/v2.1/p1/images/2"
    assert await line.statuses((one, ALICE), (two, ALICE), (one, ALICE)) == [200, 200, 413]


@pytest.mark.parametrize(("capture_groups", "expected"), [(True, [200, 200, 413]), (False, [200, 413, 413])])
async def test_the_groups_of_an_expression_count_apart_or_not(
    capture_groups: bool, expected: list[int]
) -> None:
    line = Line(rate(limit=1, regex="/v2/images/([^/]+)/metadata", capture_groups=capture_groups))
    one, two = "/v2/images/1/metadata", "/v2/images/2/metadata"
    assert await line.statuses((one, ALICE), (two, ALICE), (one, ALICE)) == expected


async def test_an_expression_must_match_the_whole_path() -> None:
    line = Line(rate(limit=1, regex="/v2/images"))
    assert await line.statuses(*[("/v2/images/1", ALICE)] * 3) == [200, 200, 200]


async def test_query_names_must_all_be_there_in_any_case() -> None:
    line = Line(rate(limit=1, query=("marker", "Limit")))
    paths = ["/i?marker=1", "/i?limit=1&Marker=2", "/i?marker=&limit", "/i?limit=1"]
    assert await line.statuses(*((path, ALICE) for path in paths)) == [200, 200, 413, 200]


@pytest.mark.parametrize("path", ["/i?a=b;marker=1", "/i?marker=1;a=b", "/i?a=b%3Bc&marker=1", "/i?;marker"])
async def test_a_name_behind_a_semicolon_counts_because_some_servers_read_it(path: str) -> None:
    line = Line(rate(limit=1, query=("marker",)))
    assert await line.statuses((path, ALICE), (path, ALICE)) == [200, 413]


async def test_a_rule_concerns_its_methods_only() -> None:
    line = Line(rate(limit=1, methods=("PUT",)))
    answers = [await line.get(method=method) for method in ("PUT", "GET", "GET", "PUT")]
    assert [answer.status for answer in answers] == [200, 200, 200, 413]


async def test_a_refusal_charges_nothing() -> None:
    line = Line(rate("wide", limit=10), rate("narrow", limit=1, methods=("PUT",)))
    await line.get(method="PUT")
    refused = [await line.get(method="PUT") for _ in range(5)]
    assert {answer.status for answer in refused} == {413}
    assert '"wide";r=9' in (refused[-1].header("ratelimit") or "")


async def test_retry_after_covers_every_rule_that_refuses() -> None:
    line = Line(rate("minute", limit=1), rate("hour", limit=1, period_seconds=3600))
    await line.get()
    assert (await line.get()).header("retry-after") == "3600"


VIP = rate("vip", limit=3, groups=("vip",))
GOLD = rate("gold", limit=2, groups=("gold",))
DEFAULT = rate("default", limit=1)


@pytest.mark.parametrize(
    ("who", "policy"),
    [
        (ALICE, '"default";q=1;w=60'),
        ([*ALICE, ("x-roles", "member vip")], '"vip";q=3;w=60'),
        ([*ALICE, ("x-groups", "gold vip")], '"vip";q=3;w=60'),
        ([*ALICE, ("x-roles", "gold vip")], '"vip";q=3;w=60'),
        ([*ALICE, ("x-groups", "unknown vip gold")], '"vip";q=3;w=60'),
        ([*ALICE, ("x-groups", "gold"), ("x-roles", "vip")], '"vip";q=3;w=60'),
        ([*ALICE, ("x-groups", "vip"), ("x-roles", "gold")], '"vip";q=3;w=60'),
        ((), '"default";q=1;w=60'),
    ],
)
async def test_of_several_groups_with_rules_the_order_of_the_rules_decides(
    who: Iterable[tuple[str, str]], policy: str
) -> None:
    answer = await Line(VIP, GOLD, DEFAULT).get(who=who)
    assert answer.header("ratelimit-policy") == policy


async def test_the_methods_of_a_rule_that_names_get_include_head() -> None:
    line = Line(rate(methods=("GET",)))
    answers = [await line.get(method=method) for method in ("GET", "HEAD", "HEAD", "GET", "POST")]
    assert [answer.status for answer in answers] == [200, 200, 413, 413, 200]


async def test_a_rule_for_head_alone_counts_no_get() -> None:
    line = Line(rate(limit=1, methods=("HEAD",)))
    answers = [await line.get(method=method) for method in ("GET", "HEAD", "HEAD", "GET")]
    assert [answer.status for answer in answers] == [200, 200, 413, 200]


async def test_global_rules_hold_for_every_group() -> None:
    line = Line(VIP, rate("all", limit=1, per=("global",)))
    vip = [*ALICE, ("x-roles", "vip")]
    assert await line.statuses((ITEM, vip), (ITEM, vip)) == [200, 503]


async def test_a_fixed_window_begins_with_the_first_request() -> None:
    line = Line(rate(limit=2), algorithm="fixed-window")
    await line.get()
    line.clock.advance(45)
    await line.get()
    answer = await line.get()
    assert (answer.status, answer.header("retry-after")) == (413, "15")
    line.clock.advance(15)
    assert await line.statuses((ITEM, ALICE), (ITEM, ALICE), (ITEM, ALICE)) == [200, 200, 413]


async def test_refusals_are_counted_by_rule() -> None:
    metrics = Metrics()
    line = Line(rate("one", limit=1), rate("other", limit=5), metrics=metrics)
    for _ in range(3):
        await line.get()
    counter = metrics.counter("metaproxy_limit_refusals", "", ("limit",))
    assert counter.values == {("one",): 2.0, ("other",): 0.0}
