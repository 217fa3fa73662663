import re

import pytest

from metaproxy.protocol.limits.answer import merged, rates_of, template_regex, timestamp
from metaproxy.protocol.limits.policy import Standing
from metaproxy.protocol.routes import RouteTable
from tests.filters.limiting import EPOCH, rate

FULL = Standing(remaining=0, wait_seconds=30)


def test_rules_of_one_place_stand_together() -> None:
    rules = [rate("a", path="/i", methods=("PUT",)), rate("b", path="/i", period_seconds=3600)]
    told = rates_of([(rule, FULL) for rule in rules], EPOCH)
    assert len(told) == 1
    assert [(limit["verb"], limit["unit"]) for limit in told[0]["limit"]] == [
        ("PUT", "MINUTE"),
        ("ALL", "HOUR"),
    ]


def test_an_expression_is_its_own_uri_and_regex() -> None:
    told = rates_of([(rate(regex="/v2/.*"), FULL)], EPOCH)
    assert (told[0]["uri"], told[0]["regex"]) == ("/v2/.*", "/v2/.*")


@pytest.mark.parametrize(
    ("seconds", "expected"), [(EPOCH, "2026-11-25T12:00:00Z"), (EPOCH + 0.001, "2026-11-25T12:00:01Z")]
)
def test_moments_are_rounded_up_to_whole_seconds(seconds: float, expected: str) -> None:
    assert timestamp(seconds) == expected


@pytest.mark.parametrize("template", ["/a/{b}/c", "/a.b/*", "/a/{b:[0-9]+}", "/a/**", "/**", ""])
@pytest.mark.parametrize("path", ["/a/x/c", "/a.b/x", "/axb/x", "/a/12", "/a/xy", "/a", "/a/x/y/z", "/b"])
def test_the_regex_of_a_template_matches_what_the_template_matches(template: str, path: str) -> None:
    table: RouteTable[None] = RouteTable()
    table.add(template or "/**", None)
    assert bool(re.match(template_regex(template), path)) == (table.match(path) is not None)


@pytest.mark.parametrize(
    ("theirs", "ours", "told"), [(128, 40, 40), (30, 40, 30), (-1, 40, 40), ("many", 40, 40), (None, 40, 40)]
)
def test_the_stricter_absolute_limit_is_told(theirs: object, ours: int, told: int) -> None:
    upstream = {"absolute": {"maxImageMeta": theirs, "other": 1}}
    assert merged(upstream, [], {"maxImageMeta": ours})["absolute"] == {"maxImageMeta": told, "other": 1}


def test_our_rates_come_before_those_of_the_upstream() -> None:
    assert merged({"rate": ["theirs"]}, ["ours"], {})["rate"] == ["ours", "theirs"]


def test_what_else_the_upstream_tells_stays() -> None:
    assert merged({"reserved": 1}, [], {}) == {"reserved": 1, "rate": [], "absolute": {}}
