from typing import Any

import pytest

from metaproxy.protocol.limits.rates import RateRule, RuleError


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": ""}, "needs a name"),
        ({"name": 'a"b'}, "needs a name"),
        ({"name": "é"}, "needs a name"),
        ({"limit": 0}, "at least 1"),
        ({"burst": 0}, "at least 1"),
        ({"period_seconds": 30}, "the period is one of second, minute, hour, day"),
        ({"path": "/a", "regex": "/a"}, "not both"),
        ({"path": "a"}, "starts with '/'"),
        ({"regex": "("}, "no regular expression"),
        ({"per": ()}, "'per' names nothing"),
        ({"per": ("image_id",)}, "neither an identity nor captured"),
        ({"per": ("image_id",), "path": "/images/{id}"}, "'per' names image_id"),
    ],
)
def test_a_rule_that_cannot_be_says_why(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(RuleError, match=message):
        RateRule(**{"name": "r", "limit": 1, "period_seconds": 60, **fields})


@pytest.mark.parametrize("place", [{"path": "/images/{image_id}"}, {"regex": "/images/(?P<image_id>[^/]+)"}])
def test_a_rule_may_count_by_what_its_path_captures(place: dict[str, Any]) -> None:
    rule = RateRule(name="r", limit=1, period_seconds=60, per=("image_id",), **place)
    assert rule.captured_names() == ("image_id",)


def test_the_unit_is_told_in_the_words_of_the_api() -> None:
    units = [RateRule(name="r", limit=1, period_seconds=seconds).unit for seconds in (1, 60, 3600, 86400)]
    assert units == ["SECOND", "MINUTE", "HOUR", "DAY"]
