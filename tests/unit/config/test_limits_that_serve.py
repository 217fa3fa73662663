"""What ``check`` lets pass in ``limits.rates``, ``serve`` can hold."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from metaproxy.filters.rates import Rates
from metaproxy.protocol.limits.settings import Limits

UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
LIMITS = st.one_of(
    st.integers(1, 20), st.integers(1, 10**15), st.sampled_from([999_999, 10**6, 999_999_999_999])
)
PLACES: list[dict[str, str]] = [
    {}, {"path": "/a/{b}"}, {"path": "/a/{b:[0-9]+}/**"}, {"path": "/{b}/{b}"}, {"regex": "/a/(?P<b>[^/]+)"},
    {"regex": "/(a+)+$"}, {"regex": "("}, {"path": "/a", "regex": "/a"},
]  # fmt: skip


@st.composite
def rates(draw: st.DrawFn) -> dict[str, Any]:
    limit, unit = draw(LIMITS), draw(st.sampled_from(sorted(UNITS)))
    rule: dict[str, Any] = {"name": "a", "rate": f"{limit}/{unit}", **draw(st.sampled_from(PLACES))}
    rule["per"] = draw(st.lists(st.sampled_from(["project", "user", "address", "global", "b"]), max_size=3))
    rule["burst"] = draw(
        st.one_of(st.none(), LIMITS, st.just(limit), st.just(limit * 365 * 86400 // UNITS[unit]))
    )
    rule["groups"] = draw(st.sampled_from([[], ["vip"]]))
    rule["before"] = draw(st.sampled_from([None, "identity"]))
    rule["methods"] = draw(st.sampled_from([["ALL"], ["GET"], ["GET", "HEAD"], ["ALL", "GET"]]))
    return rule


def _rule(rate: str, **more: Any) -> dict[str, Any]:
    return {"name": "a", "rate": rate, **more}


@pytest.mark.parametrize("algorithm", ["gcra", "fixed-window"])
@given(rates())
@example(_rule("999999999999/second"))
@example(_rule("999999/second", burst=10**15))
def test_a_rate_that_the_configuration_may_have_can_be_held(algorithm: str, rule: dict[str, Any]) -> None:
    try:
        section = Limits.model_validate({"algorithm": algorithm, "rates": [rule]})
    except ValidationError:
        return
    assert len(Rates(section.rates, algorithm=algorithm).rules) == 1
