from typing import Any

import pytest
from pydantic import ValidationError

from metaproxy.protocol.limits.rates import RateRule
from metaproxy.settings.units import Rate

PER_MINUTE = Rate(1, "minute")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": ""}, "a name has letters"),
        ({"name": 'a"b'}, "a name has letters"),
        ({"name": "é"}, "a name has letters"),
        ({"rate": Rate(0, "minute")}, "a rate is a number from 1 on"),
        ({"rate": Rate(1, "week")}, "a rate is a number from 1 on"),
        ({"rate": Rate(10**9, "second")}, "must be at most 1000000/second"),
        ({"rate": "1/week"}, "a rate is a number from 1 on"),
        ({"burst": 0}, "greater than or equal to 1"),
        ({"path": "/a", "regex": "/a"}, "a rule has one of them"),
        ({"path": "a"}, "starts with '/'"),
        ({"regex": "("}, "no regular expression"),
        ({"per": ()}, "at least 1 item"),
        ({"per": ("image_id",)}, "'image_id' is neither one of project, user, address, global nor captured"),
        ({"per": ("image_id",), "path": "/images/{id}"}, "nor captured by /images/{id}"),
        ({"period_seconds": 60}, "period_seconds"),
    ],
)
def test_a_rule_that_cannot_be_says_why(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        RateRule(**{"name": "r", "rate": PER_MINUTE, **fields})


@pytest.mark.parametrize("place", [{"path": "/images/{image_id}"}, {"regex": "/images/(?P<image_id>[^/]+)"}])
def test_a_rule_may_count_by_what_its_path_captures(place: dict[str, Any]) -> None:
    rule = RateRule(name="r", rate=PER_MINUTE, per=("image_id",), **place)
    assert rule.captured_names() == ("image_id",)


def test_a_rate_may_be_written_as_in_the_file() -> None:
    rule = RateRule.model_validate({"name": "r", "rate": "7/hour"})
    assert (rule.limit, rule.period_seconds) == (7, 3600)
