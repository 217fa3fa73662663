"""Expressions that need too much time are found; what operators usually write is not taken for one."""

import pytest

from metaproxy.preflight.expressions import has_repeats_in_a_row, is_slow


@pytest.mark.parametrize(
    "expression",
    [
        "/(a+)+$",
        "/(a*)*b",
        "/(a+)*b",
        "/((a+))+$",
        "/(?:[a-z]+)+$",
        "/([a-zA-Z]+)*$",
        "/(a|a)*$",
        "/(a|aa)+$",
        "/(a?a?)*$",
        r"/(\w\w?)+$",
        r"/([0-9]{1,3}\.?)+$",
        "/(.*)*$",
        "/(.*a){20}",
        "/(a?b?c*)*$",
        "/(a+){1,50}$",
        "/(a+?)+?$",
        "/x(/[^/]+(a+)+)?",
        r"/(\d+\d)+$",
        "/(?:a+|b)+$",
    ],
)
def test_an_exponential_expression_is_found(expression: str) -> None:
    assert is_slow(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "/v2/[^/]+/(servers|images)/detail",
        r"/v2\.1/[^/]+/(servers|flavors)(?:/.*)?",
        "/(?:[a-z]+/)+x",
        "/(?:/[^/]+)*",
        r"/\w+(?:-\w+)*",
        "/[0-9a-f]{8}-[0-9a-f]{4}",
        "/(a|b)+",
        r"/(\w|\d)+$",
        r"/([0-9]{1,3}\.)+$",
        "/.*",
        "/(a+b)+",
        "/(a+){2}",
        r"https://[a-z]+\.example\.com",
        "/(?P<id>[^/]+)/(?P<key>.+)",
        "/(?=x)a*",
        "/(",
    ],
)
def test_a_usual_expression_is_not(expression: str) -> None:
    assert not is_slow(expression)
    assert not has_repeats_in_a_row(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "/.*/servers/.*/detail/.*/x",
        "/(.*)(.*)(.*)x",
        "/.*a.*a.*a.*x",
        "/(?P<a>.+)/(?P<b>.+)/(?P<c>.+)/x",
        r"/\w*[a-z]*\w*x",
        "/(?:.*/a/.*/b/.*/c)?",
        "/(a|.*/a/.*/b/.*/c)x",
    ],
)
def test_three_repeats_in_a_row_are_found(expression: str) -> None:
    assert has_repeats_in_a_row(expression)


@pytest.mark.parametrize(
    "expression",
    [
        r"/v2\.1/.*/servers/.*/action/.*",
        "/[^/]+/[^/]+/[^/]+/[^/]+/x",
        "/([^/]*)/([^/]*)/x(.*)/y(.*)/z",
        r"https://[a-z]+\.[a-z]+\.[a-z]+\.example",
        "/[a-z]+[0-9]+[a-z]+[0-9]+[a-z]+",
        "/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/x",
    ],
)
def test_repeats_that_are_kept_apart_are_not(expression: str) -> None:
    assert not has_repeats_in_a_row(expression)
