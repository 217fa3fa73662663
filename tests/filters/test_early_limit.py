"""Rates before identity: an attempt counts whether its token is valid or not."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from metaproxy.app import Application, create_app
from metaproxy.exchange import Identity
from metaproxy.filters.authenticate import Authenticate
from metaproxy.filters.limit import RateLimit
from metaproxy.filters.limits_endpoint import LimitsEndpoint
from metaproxy.filters.rates import Rates
from metaproxy.identity.cached import CachedValidator
from metaproxy.identity.validator import TokenRejected, TokenValidator
from metaproxy.protocol.limits.rates import RateRule, RuleError
from tests.asgi_driver import Answer, drive
from tests.filters.limiting import ITEM, FakeClock, Upstream, body_of, rate
from tests.unit.assembly.configured import STATIC, config

ATTEMPTS = rate("attempts", limit=5, per=("address",), before="identity")
LIMITS = "/v2.1/t1/limits"


class Asked(TokenValidator):
    """Knows one token, and counts what it is asked."""

    def __init__(self) -> None:
        self.questions = 0

    async def validate(self, token: bytes, *, allow_expired: bool = False) -> Identity:
        self.questions += 1
        if token != b"alice":
            raise TokenRejected
        return Identity(user_id="u1", project_id="p1", roles=("member", "vip"))


class Line:
    """Rates before and behind a stage that authenticates."""

    def __init__(self, *rules: RateRule, **options: Any) -> None:
        self.clock, self.upstream, self.identity = FakeClock(), Upstream(b'{"limits": {}}'), Asked()
        self.rates = rates = Rates(rules, monotonic=self.clock, endpoint=LIMITS)
        late = RateLimit(LimitsEndpoint(self.upstream, rates=rates, path=LIMITS), rates=rates, **options)
        authenticate = Authenticate(late, validator=CachedValidator(self.identity, monotonic=self.clock))
        self.app = RateLimit(authenticate, rates=rates, before_identity=True, **options)

    async def get(self, token: str = "", *, address: str = "192.0.2.1", path: str = ITEM) -> Answer:
        fields = [("x-auth-token", token)] if token else []
        return await drive(self.app, "GET", path, fields, scope_extra={"client": (address, 4000)})

    async def statuses(self, tokens: Iterable[str], **more: Any) -> list[int]:
        return [(await self.get(token, **more)).status for token in tokens]


async def test_made_up_tokens_are_over_the_rate_after_its_number() -> None:
    line = Line(ATTEMPTS)
    assert await line.statuses(f"made-up-{number}" for number in range(40)) == [401] * 5 + [413] * 35
    assert line.identity.questions == 5


async def test_requests_without_a_token_count_as_well() -> None:
    assert await Line(ATTEMPTS).statuses([""] * 7) == [401] * 5 + [413] * 2


async def test_reading_the_limits_is_counted_because_identity_is_asked_for_it() -> None:
    line = Line(ATTEMPTS)
    assert await line.statuses((f"made-up-{number}" for number in range(7)), path=LIMITS) == [
        *[401] * 5,
        *[413] * 2,
    ]
    assert line.identity.questions == 5


async def test_another_address_has_a_counter_of_its_own() -> None:
    line = Line(ATTEMPTS)
    await line.statuses(["made-up"] * 6)
    assert await line.statuses(["alice"], address="192.0.2.2") == [200]


async def test_a_refusal_is_413_with_retry_after_and_says_where_the_address_stands() -> None:
    line = Line(ATTEMPTS)
    answers = [await line.get("made-up") for _ in range(6)]
    assert (answers[0].status, answers[0].header("ratelimit")) == (401, '"attempts";r=4;t=12')
    assert (answers[5].status, answers[5].header("retry-after")) == (413, "12")
    assert answers[5].header("ratelimit") == '"attempts";r=0;t=12'
    assert answers[5].exchange.reason == "rate_exceeded"


async def test_a_rate_for_all_together_answers_503() -> None:
    line = Line(rate("attempts", limit=1, per=("global",), before="identity"))
    assert await line.statuses(["made-up", "alice"]) == [401, 503]


async def test_a_request_is_charged_to_the_rates_on_both_sides_of_identity() -> None:
    line = Line(ATTEMPTS, rate("reads", limit=2))
    answer = await line.get("alice")
    assert answer.all("ratelimit") == ['"attempts";r=4;t=12', '"reads";r=1;t=30']
    assert await line.statuses(["alice"] * 5) == [200, *[413] * 4]
    assert (await line.get("alice")).all("ratelimit") == ['"attempts";r=0;t=12']


async def test_a_rule_before_identity_holds_for_a_consumer_with_rates_of_a_group() -> None:
    line = Line(ATTEMPTS, rate("vip", limit=100, groups=("vip",)))
    assert await line.statuses(["alice"] * 6) == [*[200] * 5, 413]


async def test_what_the_path_captures_can_be_counted_before_identity() -> None:
    by_image = rate(
        limit=1,
        per=("image_id",),
        path="/v2.1/{tenant_id}/images/{image_id}",
        before="identity",
        name="images",
    )
    line = Line(by_image)
    paths = ["/v2.1/p1/images/a", "/v2.1/p1/images/b", "/v2.1/p1/images/a"]
    assert [(await line.get("alice", path=path)).status for path in paths] == [200, 200, 413]


async def test_the_limits_of_a_consumer_name_the_rates_before_identity_in_the_order_of_the_file() -> None:
    line = Line(rate("reads", limit=7), ATTEMPTS)
    told = body_of(await line.get("alice", path=LIMITS))["limits"]["rate"][0]["limit"]
    assert [(entry["value"], entry["remaining"]) for entry in told] == [(7, 7), (5, 4)]


@pytest.mark.parametrize("more", [{"per": ("project",)}, {"per": ("address", "user")}, {"groups": ("vip",)}])
def test_a_rule_before_identity_cannot_ask_who_it_is(more: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="before identity"):
        rate(**{"per": ("address",), **more}, before="identity")


@pytest.mark.parametrize(
    "more",
    [
        {"path": "/v2.1/{tenant_id}/images/**", "per": ("tenant_id",)},
        {"path": "/v2.1/p1/images/**", "per": ("address",)},
        {"regex": r"/v2\.1/([^/]+)/images/.*", "per": ("address",)},
    ],
)
def test_a_rule_before_identity_cannot_ask_whose_a_path_without_a_tenant_is(more: dict[str, Any]) -> None:
    rule = rate(**more, before="identity")

    with pytest.raises(RuleError, match="the tenant of a path that does not name one is not known"):
        Rates([rule])


def test_a_stage_does_not_take_rules_that_it_would_not_hold() -> None:
    with pytest.raises(ValueError, match="not both"):
        RateLimit(Upstream(), rules=[ATTEMPTS])


RULE = "limits: {rates: [{name: attempts, per: [address], before: identity, rate: 2/day}]}"


async def wrong(app: Application, times: int) -> list[int]:
    fields = [("Host", "a"), ("X-Auth-Token", "wrong")]
    return [(await drive(app, "GET", ITEM, headers=fields)).status for _ in range(times)]


async def test_the_configuration_puts_such_a_rule_before_identity_and_a_reload_leaves_its_counters(
    tmp_path: Path,
) -> None:
    old = create_app(config(tmp_path, STATIC, RULE))
    assert await wrong(old, 3) == [401, 401, 413]

    other = RULE.replace("[{", "[{name: b, rate: 1/day}, {")
    new = create_app(config(tmp_path, STATIC, other), old)

    assert await wrong(new, 1) == [413]


async def test_a_rule_that_a_reload_puts_before_identity_has_a_new_counter(tmp_path: Path) -> None:
    behind = create_app(config(tmp_path, STATIC, RULE.replace("before: identity, ", "")))
    assert await wrong(behind, 4) == [401] * 4

    before = create_app(config(tmp_path, STATIC, RULE), behind)

    assert await wrong(before, 3) == [401, 401, 413]
