import re
import resource
import subprocess
import sys
from contextlib import suppress

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from metaproxy.protocol.expressions import BACKTRACKING, MAX_BYTES, ExpressionError, compiled, unmarked

ATOMS = (
    *("a", "b", "/", "v2", r"\.", r"\-", ".", "é", "٣", "-"),
    *(r"\d", r"\w", r"\s", r"\D", r"\W", r"\S"),
    *("[a-f0-9]", "[^/]", "[^/a]", "[]a]", "[^]a]", r"[\d.-]", r"[\w-]", "[a-]", "[{,2}]"),
    *("^", "$", r"\b", r"\B", r"\A", r"\Z", "{", "}", "{a}", r"\{,2}"),
)  # fmt: skip
REPEATS = ("*", "+", "?", "*?", "+?", "??", "{2}", "{1,3}", "{,2}", "{0,}", "{,}", "{1,2}?")

expressions = st.recursive(
    st.sampled_from(ATOMS),
    lambda inside: st.one_of(
        st.lists(inside, min_size=1, max_size=4).map("".join),
        st.lists(inside, min_size=2, max_size=3).map(lambda parts: f"(?:{'|'.join(parts)})"),
        inside.map(lambda part: f"({part})"),
        inside.map(lambda part: f"(?P<name>{part})"),
        inside.map(lambda part: f"(?i:{part})"),
        st.tuples(inside, st.sampled_from(REPEATS)).map(lambda parts: f"(?:{parts[0]}){parts[1]}"),
        st.tuples(st.sampled_from(ATOMS), st.sampled_from(REPEATS)).map("".join),
    ),
    max_leaves=8,
)
paths = st.text(st.sampled_from("aAbBfv2/.-0{},é٣ _"), min_size=1, max_size=12)


@settings(max_examples=400, deadline=None)
@given(expressions, st.lists(paths, min_size=1, max_size=8))
def test_what_both_can_take_matches_the_same_paths(expression: str, texts: list[str]) -> None:
    try:
        python = re.compile(expression, re.ASCII | re.DOTALL)
    except re.error:
        assume(False)
        raise
    try:
        ours = compiled(expression)
    except ExpressionError:
        assume(False)
        raise

    for text in texts:
        assert ours.matches(text) == (python.fullmatch(text) is not None), (expression, text)


@pytest.mark.parametrize(
    ("expression", "text", "captures"),
    [
        (r"/v2\.1/([^/]+)/images/(?P<image>[^/]+)", "/v2.1/p1/images/é", ("p1", "é")),
        (r"/(a)|/(b)", "/b", ("", "b")),
        (r"/[^/]+", "/p1", ()),
        (r"/(.*)", "/a\udc80b", ("a?b",)),
        (r"/(?<name>x)", "/x", ("x",)),
        (r"/.*", "/a\nb", ()),
        (r"/x\Z", "/x", ()),
        (r"/x{,2}", "/", ()),
        (r"/x{,2}", "/xx", ()),
        (r"/[x{,2}]+", "/{x,2}", ()),
        (r"/\{,2}", "/{,2}", ()),
        (r"(?i)/ABC", "/abc", ()),
        (BACKTRACKING + r"/(?!x).*", "/y", ()),
        (BACKTRACKING + r"/(.)\1", "/aa", ("a",)),
        (BACKTRACKING + r"/(a)|/(b)", "/b", ("", "b")),
        (BACKTRACKING + r"/.*", "/a\nb", ()),
    ],
)
def test_a_text_that_matches_gives_what_its_groups_captured(
    expression: str, text: str, captures: tuple[str, ...]
) -> None:
    assert compiled(expression).find(text) == captures


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        (r"/\d", "/٣"),
        (r"/\w", "/é"),
        (BACKTRACKING + r"/\d", "/٣"),
        (BACKTRACKING + r"/\w(?!a)", "/é"),
        (r"/x", "/x\n"),
        (r"/x$", "/x\n"),
        (r"/x{,2}", "/x{,2}"),
        (r"/x", "/xy"),
        (r"x", "/x"),
    ],
)
def test_a_text_that_does_not_match_gives_nothing(expression: str, text: str) -> None:
    assert compiled(expression).find(text) is None
    assert not compiled(expression).matches(text)


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        (r"/x", ()),
        (r"/(?P<a>x)/(y)/(?P<b>z)", ("a", "", "b")),
        (BACKTRACKING + r"/(?P<a>x)/(y)(?=z)", ("a", "")),
    ],
)
def test_groups_have_their_names(expression: str, names: tuple[str, ...]) -> None:
    assert compiled(expression).names == names


@pytest.mark.parametrize(
    ("expression", "cause"),
    [
        (r"/(?=a).*", "lookahead, (?="),
        (r"/(?!a).*", "lookahead, (?!"),
        (r"/.*(?<=a)", "lookbehind, (?<="),
        (r"/.*(?<!a)", "lookbehind, (?<!"),
        (r"/(.)\1", r"a backreference, \1"),
        (r"/(?P<x>.)(?P=x)", "a backreference, (?P="),
        (r"/[^/]++", "a possessive repeat, ++"),
        (r"/(?>a|ab)c", "an atomic group, (?>"),
        (r"/(a)?(?(1)b|c)", "a conditional, (?("),
        (r"/a{1001}", "a repeat above 1000, {1001}"),
        ("/\\u0041", r"the escape \u"),
        (r"(?x)/a", "(?x"),
    ],
)
def test_what_re2_cannot_take_is_named_and_needs_a_word(expression: str, cause: str) -> None:
    with pytest.raises(ExpressionError) as refused:
        compiled(expression)

    assert f"RE2, which matches in linear time, cannot take {cause}" in str(refused.value).replace(
        "invalid perl operator: ", ""
    )
    assert BACKTRACKING in str(refused.value)
    assert compiled(BACKTRACKING + expression).backtracks


@pytest.mark.parametrize(
    "expression",
    [
        *("(", "[a", "[[", "a**", "(?P<", "(?P<a>x)(?P<a>y)", "(" * 5000, "\ud800"),
        *(f"{BACKTRACKING}{expression}" for expression in ("(", "[[a]", "(" * 5000)),
    ],
)
def test_what_is_no_regular_expression_is_refused_as_such(expression: str) -> None:
    with pytest.raises(ExpressionError, match=r"^no regular expression: "):
        compiled(expression)


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from("ab/(?P<>=!:)[]{}|*+^$.\\dZ1,-i#"), max_size=20))
def test_whatever_is_written_is_compiled_or_refused(expression: str) -> None:
    with suppress(ExpressionError):
        compiled(expression).matches("/v2.1/p1/images")


def test_equal_expressions_are_equal() -> None:
    assert compiled("[0-9]+") == compiled("[0-9]+")
    assert compiled("[0-9]+") != compiled("[0-9]*")
    assert compiled("[0-9]+") != compiled(BACKTRACKING + "[0-9]+")
    assert len({compiled("[0-9]+"), compiled("[0-9]+")}) == 1


def test_the_word_is_no_part_of_the_expression() -> None:
    assert compiled(BACKTRACKING + "/(?!a).*").pattern == "/(?!a).*"
    assert unmarked(BACKTRACKING + "/(?!a).*") == "/(?!a).*"
    assert unmarked("/a") == "/a"


@pytest.mark.parametrize(
    "expression",
    [
        r"^/api/v1/object/[\w]{32}/action$",
        r"/static/[a-zA-Z0-9._-]{0,200}/[a-zA-Z0-9._-]{0,200}",
        r"/v2/([^/]{1,255})/servers/([^/]{1,255})",
        r"(?i)/images/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?:/.*)?",
    ],
)
def test_what_operators_of_other_proxies_write_is_not_too_large(expression: str) -> None:
    assert not compiled(expression).backtracks


SLOW = (
    r"/(a+)+$",
    r"(/a|/a)*b",
    r"(.*)/(.*)/(.*)/(.*)z",
    r"(x+x+)+y",
    r"/((a?){50}){20}b",
    r".*/a/.*/b/.*/c",
    r"/(a|aa|aaa|aaaa)+$",
)


def test_no_expression_stops_the_process() -> None:
    """``re`` takes minutes or longer for each. The process has ten seconds of processor time."""
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_CPU, (10, 10))\n"
        "from metaproxy.protocol.expressions import compiled\n"
        f"for expression in {SLOW!r}:\n"
        "    for text in ('/' + 'a' * 65536 + '!', '/a' * 32768, 'x' * 65536, '/a/b' * 16384):\n"
        "        compiled(expression).matches(text)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_expression_that_needs_too_much_memory_is_refused() -> None:
    with pytest.raises(ExpressionError, match=f"RE2 needs more than {MAX_BYTES >> 10} KiB for it"):
        compiled(r"(\pL{100})")


def test_the_memory_of_an_expression_is_bounded() -> None:
    expression = compiled(r".*a.{300}b")
    scattered = [bin(number * 0x9E3779B97F4A7C15)[2:] for number in range(1, 200)]
    texts = [digits.replace("0", "a").replace("1", "b") * 40 for digits in scattered]
    expression.matches(texts[0])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    for text in texts:
        expression.matches(text)

    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8 * MAX_BYTES // 1024
