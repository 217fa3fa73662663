"""Regular expressions of Java, as metaproxy takes them."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaproxy.config.repose.expressions import Untranslatable, translated
from metaproxy.protocol.expressions import compiled

TRANSLATIONS = [
    (r"/(?<tenant>\d+)/(?:e)", r"/(?P<tenant>[0-9]+)/(?:e)"),
    (r"\Q/v2.1/\E.*", r"/v2\.1/.*"),
    (r"\Qa.b", r"a\.b"),
    (r"\p{Alpha}+", r"[A-Za-z]+"),
    (r"[\p{Alnum}_-]+", r"[A-Za-z0-9_-]+"),
    (r"\P{Digit}", r"[^0-9]"),
    (r"[\w.]\W", r"[A-Za-z0-9_.][^A-Za-z0-9_]"),
    (r"(?i)images", r"(?i)images"),
    (r"(?iu:images)", r"(?i:images)"),
    (r"(?d)a", r"a"),
    (r"a\z", r"a\Z"),
    (r"a\Z", r"a\Z"),
    (r"\x{1F600}", r"\x{1f600}"),
    (r"[a||b]", r"[a||b]"),
    (r"[]a]", r"[]a]"),
    (r"\[a\]", r"\[a\]"),
]


@pytest.mark.parametrize(("java", "python"), TRANSLATIONS)
def test_an_expression_is_translated(java: str, python: str) -> None:
    assert translated(java) == python
    compiled(python)


@pytest.mark.parametrize(
    ("java", "ours"),
    [
        (r"/v2/[^/]++/images", r"/v2/[^/]+/images"),
        (r"/(a*+)(?:b)?+c{2}+d{2,}+e{2,3}+", r"/(a*)(?:b)?c{2}d{2,}e{2,3}"),
        (r"(?>a|ab)c", r"(?:a|ab)c"),
        (r"/\++[++]+[*+]\(?>?", r"/\++[++]+[*+]\(?>?"),
    ],
)
def test_a_limit_may_match_more_than_a_possessive_repeat(java: str, ours: str) -> None:
    assert translated(java, may_match_more=True) == ours


def test_a_permission_may_not_match_more() -> None:
    with pytest.raises(Untranslatable, match="possessive"):
        translated(r"https://[^/]++")


REFUSALS = [
    (r"[a-z&&[^b]]", "intersects"),
    (r"[a[b]]", "nests"),
    (r"\p{IsGreek}", r"\p{IsGreek}"),
    (r"\pL", r"\pL"),
    (r"[^\P{Alpha}]", "negation"),
    (r"\Ga", "last match"),
    (r"a\R", "line break"),
    (r"a(?i)b", "flags in its middle"),
    (r"(?U)a", "flags that Python"),
    (r"(a", "no regular expression"),
    (r"[0--9]", "set difference"),
    (r"(?<!a)b", "lookbehind"),
    (r"(?=c)c", "lookahead"),
    (r"(?>a|ab)c", "an atomic group"),
    (r"/(?<tenant>\d+)/\k<tenant>", "a backreference"),
]


@pytest.mark.parametrize(("java", "why"), REFUSALS)
def test_what_cannot_be_taken_is_told(java: str, why: str) -> None:
    with pytest.raises(Untranslatable) as refused:
        translated(java)
    assert why in str(refused.value)


@given(st.text(alphabet="ab01\\\\()[]{}?*+.|^$<>:&-pPQEdwkxiuz{},", max_size=30))
def test_whatever_is_given_is_translated_or_refused(java: str) -> None:
    with suppress(Untranslatable):
        compiled(translated(java))


def test_digits_are_ascii_as_in_java() -> None:
    assert not compiled(translated(r"\d")).matches("\u0663")
