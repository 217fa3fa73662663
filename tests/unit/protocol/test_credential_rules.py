"""Access rules of application credentials: which requests they allow."""

import re
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from metaproxy.protocol.credential_rules import MAX_PATH, CredentialRule, Patterns, allow, length_of

GET = "GET"


def allowed(pattern: str, path: str, method: str = GET, *, raw_path: str | None = None) -> bool:
    raw = raw_path if raw_path is not None else quote(path, safe="/~!$&'()*+,;=:@{}")
    return allow((CredentialRule(GET, pattern),), method, path, raw.encode())


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        # Literal: the whole path, to the letter.
        ("/v2.1/servers", "/v2.1/servers", True),
        ("/v2.1/servers", "/v2.1/servers/", False),
        ("/v2.1/servers", "/v2.1/servers/1", False),
        ("/v2.1/servers", "/v2.1/Servers", False),
        ("/v2.1/servers", "/v2x1/servers", False),  # a dot is a dot
        ("/v2.1/servers", "/v2.1/server", False),
        ("/v2.1/servers", "/prefix/v2.1/servers", False),
        # Other names of the resource were not written.
        ("/v2.1/servers", "/v2/servers", False),
        ("/v2.1/servers", "/v2.1/p1/servers", False),
        ("/v2.1/servers", "/v2.1/servers.json", False),
        # One segment.
        ("/v2.1/*/servers", "/v2.1/p1/servers", True),
        ("/v2.1/*/servers", "/v2.1//servers", False),
        ("/v2.1/*/servers", "/v2.1/servers", False),
        ("/v2.1/servers/*", "/v2.1/servers/1", True),
        ("/v2.1/servers/*", "/v2.1/servers/", False),
        ("/v2.1/servers/*", "/v2.1/servers/1/action", False),
        ("/v2.1/servers/*/action", "/v2.1/servers/1/action", True),
        ("/v2.1/ser*", "/v2.1/servers", True),
        ("/v2.1/ser*", "/v2.1/ser", False),
        ("/v2.1/s*s", "/v2.1/servers", True),
        ("/v2.1/s*s", "/v2.1/ss", False),
        ("/v2.1/servers/{server_id}", "/v2.1/servers/1", True),
        ("/v2.1/servers/{server_id}", "/v2.1/servers/1/action", False),
        ("/v2.1/servers/{}", "/v2.1/servers/1", True),
        ("/v2.1/{project_id}/servers/{server_id}", "/v2.1/p1/servers/s1", True),
        # Any segments.
        ("/v2.1/servers**", "/v2.1/servers", True),
        ("/v2.1/servers/**", "/v2.1/servers/1/os-interface", True),
        ("/v2.1/servers/**", "/v2.1/servers/", True),
        ("/v2.1/servers/**", "/v2.1/servers", False),
        ("/v2.1/**/action", "/v2.1/servers/1/action", True),
        ("/v2.1/**/action", "/v2.1/servers/1/actions", False),
        ("**", "/anything/at/all", True),
        ("/**", "/", True),
        ("/v2.1/***", "/v2.1/a/b", True),
        ("/v2.1/***", "/v2.1/a/", False),
        # Braces without partners are ignored, and signs of expressions are literal.
        ("/v2.1/servers}", "/v2.1/servers", True),
        ("/v2.1/(servers|images)", "/v2.1/servers", False),
        ("/v2.1/[a-z]+", "/v2.1/servers", False),
        ("/v2.1/servers$", "/v2.1/servers", False),
        ("", "/v2.1/servers", False),
    ],
)
def test_a_pattern_matches_a_whole_path(pattern: str, path: str, expected: bool) -> None:
    assert allowed(pattern, path) is expected


@pytest.mark.parametrize("method", ["HEAD", "POST", "DELETE", "get"])
def test_a_rule_allows_its_own_method_alone(method: str) -> None:
    assert allowed("/v2.1/servers", "/v2.1/servers")
    assert not allowed("/v2.1/servers", "/v2.1/servers", method)


@pytest.mark.parametrize(
    ("raw_path", "path", "expected"),
    [
        ("/v2.1/%73ervers", "/v2.1/servers", True),  # the same resource to every reader
        ("/v2.1/servers%2Fa", "/v2.1/servers/a", False),
        ("/v2.1/servers%5ca", "/v2.1/servers\\a", False),
        ("/v2.1/x/../servers", "/v2.1/x/../servers", False),
        ("/v2.1/%2e%2e/servers", "/v2.1/../servers", False),
        ("/v2.1//servers", "/v2.1//servers", False),
        ("/v2.1/servers;a=b", "/v2.1/servers;a=b", False),
        ("/v2.1/%252e", "/v2.1/%2e", False),
        ("/v2.1/%00", "/v2.1/\0", False),
        ("/v2.1/" + "a" * MAX_PATH, "/v2.1/" + "a" * MAX_PATH, False),
    ],
)
def test_a_path_that_two_readers_could_take_for_different_ones_is_not_allowed(
    raw_path: str, path: str, expected: bool
) -> None:
    assert allowed("/v2.1/**", path, raw_path=raw_path) is expected


def test_a_pattern_is_compared_with_the_escaped_path() -> None:
    assert allowed("/metadata/a%20b", "/metadata/a b")
    assert not allowed("/metadata/a b", "/metadata/a b")
    assert allowed("/metadata/*", "/metadata/ä")


def test_no_rule_allows_nothing() -> None:
    assert not allow((), GET, "/v2.1/servers", b"/v2.1/servers")


def test_one_of_several_rules_suffices() -> None:
    rules = tuple(CredentialRule(GET, path) for path in ("/images", "/servers/*", "/flavors"))

    def asked(path: str) -> bool:
        return allow(rules, GET, path, path.encode())

    assert [asked(path) for path in ("/images", "/servers/1", "/flavors")] == [True] * 3
    assert [asked(path) for path in ("/image", "/servers", "/images/1", "/imagesservers/1")] == [False] * 4
    assert length_of(rules) == len("/images/servers/*/flavors")


def as_an_expression(pattern: str) -> re.Pattern[str]:
    """Return what keystonemiddleware makes of ``pattern``, with its literals quoted."""
    parts = re.finditer(r"(?P<one>\{[^}]*\}|\*(?=$|[^*]))|(?P<any>\*\*)|(?P<literal>[^{}*])", pattern)
    kinds = ("[^/]+" if part["one"] else ".*" if part["any"] else re.escape(part[0]) for part in parts)
    return re.compile("".join(kinds))


@given(
    st.lists(st.text(st.sampled_from("ab/*{}"), max_size=10), min_size=1, max_size=3),
    st.text(st.sampled_from("ab/"), max_size=10),
)
@example(["/***"], "/a/")
@example(["**a*b"], "/xa/yacb")
@example(["/a", "b/**"], "/ab/")
def test_patterns_match_what_keystonemiddlewares_expressions_match(patterns: list[str], path: str) -> None:
    expected = any(as_an_expression(pattern).fullmatch(path) for pattern in patterns)

    assert Patterns(patterns).match(path) is expected


@given(st.text(st.sampled_from("ab*/{}."), max_size=12), st.text(st.sampled_from("ab/.%;\\"), max_size=12))
def test_nothing_is_allowed_that_no_expression_matches(pattern: str, path: str) -> None:
    if allow((CredentialRule(GET, pattern),), GET, path, path.encode()):
        assert as_an_expression(pattern).fullmatch(path)


def test_a_pattern_of_many_wildcards_takes_no_longer_than_the_path_is_long() -> None:
    """An expression with as many ``.*`` would need more steps than there are atoms."""
    pattern, path = "/" + "**a*b" * 40, "/" + "ab" * 500 + "/"

    assert not allowed(pattern, path)
