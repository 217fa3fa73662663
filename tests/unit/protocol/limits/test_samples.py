"""Texts that an expression matches."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from metaproxy.protocol.expressions import ExpressionError, compiled
from metaproxy.protocol.limits.samples import samples_of

TEXTS = ("servers", "/v2.1/p1")


@pytest.mark.parametrize(
    "expression",
    [
        "/",
        r"/v2(\.1)?/[0-9a-f]{32}/servers",
        "/(servers|images)/([^/]+)(?:/.*)?",
        r"^/\d+/\w+/\S+$",
        r"/[\w-]{3,}/[^a]",
        "/(?P<kind>[a-z]+)/a*",
        "(?i)/SERVERS",
        "(?backtracking)/(?!x)[a-z]+",
        "",
    ],
)
def test_an_expression_as_operators_write_it_has_a_sample(expression: str) -> None:
    known = compiled(expression)
    found = list(samples_of(expression, TEXTS))

    assert found
    assert all(map(known.matches, found))


def test_a_repeat_without_an_end_stands_for_each_text_that_fits_it() -> None:
    assert set(TEXTS) <= set(samples_of("(.*)", TEXTS))
    assert set(samples_of("[^/]+", TEXTS)) == {"servers", "a"}
    assert set(samples_of("/(one|two)", TEXTS)) == {"/one", "/two"}


def test_each_text_stands_for_each_of_several_repeats() -> None:
    texts = [f"/t{number}" for number in range(8)]

    assert {found.split("-")[0] for found in samples_of("(.*)-(.*)-(.*)", texts)} >= set(texts)


def test_what_python_cannot_parse_has_none() -> None:
    assert list(samples_of(r"/\pL", TEXTS)) == []


@given(
    st.lists(st.sampled_from(["a", "/", "(", ")", "[^/]", "*", "+", "?", "|", ".", "{2}", r"\d", "^", "$"]))
)
def test_every_sample_matches(parts: list[str]) -> None:
    expression = "".join(parts)
    try:
        known = compiled(expression)
    except ExpressionError:
        assume(False)

    assert all(map(known.matches, samples_of(expression, TEXTS)))
