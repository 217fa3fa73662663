"""RFC 9111 §4, §4.1, §4.2.4 and RFC 5861: reusing what is stored."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaproxy.protocol.caching import directives, reuse
from metaproxy.protocol.caching.reuse import Fresh, MustValidate, Stale, Terms

STALE, REQUEST = MustValidate("stale"), MustValidate("request")

CASES: list[tuple[str, dict[str, Any], float, bytes, object]] = [
    ("§4.2 fresh", {}, 10, b"", Fresh(50)),
    ("§4.2 fresh to the last moment", {}, 59.5, b"", Fresh(0.5)),
    ("§4.2 not fresh at its lifetime", {}, 60, b"", STALE),
    ("§4.2 stale", {}, 61, b"", STALE),
    ("§5.2.1.1 younger than max-age", {}, 10, b"max-age=20", Fresh(50)),
    ("§5.2.1.1 as old as max-age", {}, 20, b"max-age=20", Fresh(40)),
    ("§5.2.1.1 older than max-age", {}, 21, b"max-age=20", REQUEST),
    ("§5.2.1.1 max-age=0", {}, 0.5, b"max-age=0", REQUEST),
    ("§5.2.1.1 max-age goes before max-stale", {}, 30, b"max-age=20, max-stale=100", REQUEST),
    ("§5.2.1.2 max-stale lets it be stale", {}, 70, b"max-stale=10", Stale(-10, revalidate=False)),
    ("§5.2.1.2 but no longer", {}, 71, b"max-stale=10", STALE),
    ("§5.2.1.2 max-stale without end", {}, 10**6, b"max-stale", Stale(60 - 10**6, revalidate=False)),
    ("§5.2.1.2 max-stale for a fresh one", {}, 10, b"max-stale=10", Fresh(50)),
    ("§5.2.1.3 fresh for long enough", {}, 10, b"min-fresh=50", Fresh(50)),
    ("§5.2.1.3 not fresh for long enough", {}, 10, b"min-fresh=51", REQUEST),
    ("§5.2.1.3 min-fresh refuses a stale one", {"stale_while_revalidate": 60}, 70, b"min-fresh=1", STALE),
    ("§5.2.1.4 the client's no-cache", {}, 10, b"no-cache", REQUEST),
    ("§5.2.1.5 the client's no-store does not hinder reuse", {}, 10, b"no-store", Fresh(50)),
    ("§5.2.1.7 only-if-cached does not hinder reuse", {}, 10, b"only-if-cached", Fresh(50)),
    ("§5.2.2.4 the origin's no-cache", {"always_validate": True}, 10, b"", STALE),
    ("§5.2.2.4 goes before max-stale", {"always_validate": True}, 10, b"max-stale", STALE),
    ("§5.2.2.2 must-revalidate while fresh", {"never_stale": True}, 10, b"", Fresh(50)),
    ("§5.2.2.2 must-revalidate goes before max-stale", {"never_stale": True}, 70, b"max-stale", STALE),
    (
        "§5.2.2.2 must-revalidate goes before stale-while-revalidate",
        {"never_stale": True, "stale_while_revalidate": 60},
        70,
        b"",
        STALE,
    ),
    (
        "RFC 5861 §3 stale while it is validated",
        {"stale_while_revalidate": 30},
        70,
        b"",
        Stale(-10, revalidate=True),
    ),
    ("RFC 5861 §3 but no longer", {"stale_while_revalidate": 30}, 90, b"", STALE),
    (
        "RFC 5861 §3 the client's max-age goes first",
        {"stale_while_revalidate": 30},
        70,
        b"max-age=5",
        REQUEST,
    ),
    ("RFC 5861 §4 stale-if-error is not for success", {"stale_if_error": 300}, 70, b"", STALE),
]


@pytest.mark.parametrize(
    ("terms", "age", "request_", "verdict"), [pytest.param(*case[1:], id=case[0]) for case in CASES]
)
def test_reuse(terms: dict[str, Any], age: float, request_: bytes, verdict: object) -> None:
    assert reuse.assess(Terms(lifetime=60, **terms), age, directives.parse_request(request_)) == verdict


@pytest.mark.parametrize(
    ("terms", "age", "request_", "usable"),
    [
        pytest.param({"stale_if_error": 300}, 70, b"", True, id="RFC 5861 §4 the origin allows it"),
        pytest.param({"stale_if_error": 300}, 360, b"", False, id="RFC 5861 §4 but no longer"),
        pytest.param({}, 70, b"stale-if-error=20", True, id="RFC 5861 §4 the client allows it"),
        pytest.param({}, 70, b"", False, id="§4.2.4 nobody allows it"),
        pytest.param({}, 10, b"", True, id="fresh, though the client wanted it validated"),
        pytest.param({"stale_if_error": 300}, 70, b"no-cache", False, id="§5.2.1.4 the client's no-cache"),
        pytest.param({"stale_if_error": 300}, 70, b"max-age=5", False, id="§5.2.1.1 the client's max-age"),
        pytest.param(
            {"stale_if_error": 300, "never_stale": True}, 70, b"", False, id="§5.2.2.2 must-revalidate"
        ),
        pytest.param(
            {"stale_if_error": 300, "always_validate": True}, 10, b"", False, id="§5.2.2.4 no-cache"
        ),
    ],
)
def test_use_in_place_of_an_error(terms: dict[str, Any], age: float, request_: bytes, usable: bool) -> None:
    asked = directives.parse_request(request_)

    assert reuse.usable_on_error(Terms(lifetime=60, **terms), age, asked) is usable


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        pytest.param(b"", {"stale_while_revalidate": 3, "stale_if_error": 7}, id="the operator's seconds"),
        pytest.param(
            b"stale-while-revalidate=0", {"stale_if_error": 7}, id="RFC 5861 §3 the origin's go first"
        ),
        pytest.param(
            b"stale-if-error=0", {"stale_while_revalidate": 3}, id="RFC 5861 §4 the origin's go first"
        ),
    ],
)
def test_how_long_stale_is_allowed(said: bytes, expected: dict[str, Any]) -> None:
    found = reuse.terms(60, directives.parse_response(said), stale_while_revalidate=3, stale_if_error=7)

    assert found == Terms(lifetime=60, **expected)


@pytest.mark.parametrize("said", [b"must-revalidate", b"proxy-revalidate", b"s-maxage=60"])
def test_what_forbids_stale_answers(said: bytes) -> None:
    found = reuse.terms(60, directives.parse_response(said), stale_while_revalidate=0, stale_if_error=0)

    assert found.never_stale


def test_an_operator_may_overrule_the_origin() -> None:
    said = directives.parse_response(b"no-cache, must-revalidate")

    found = reuse.terms(60, said, stale_while_revalidate=3, stale_if_error=7, respect_origin=False)

    assert found == Terms(lifetime=60, stale_while_revalidate=3, stale_if_error=7)


@pytest.mark.parametrize(
    ("answer", "names"),
    [
        pytest.param([], (), id="§4.1 no Vary"),
        pytest.param(
            [(b"vary", b"Accept, accept-language")], (b"accept", b"accept-language"), id="§4.1 a list"
        ),
        pytest.param(
            [(b"vary", b"b"), (b"vary", b"a, B")], (b"a", b"b"), id="§4.1 several lines, each name once"
        ),
        pytest.param([(b"content-encoding", b"gzip")], (b"accept-encoding",), id="an encoded answer"),
    ],
)
def test_what_an_answer_varies_on(answer: list[tuple[bytes, bytes]], names: tuple[bytes, ...]) -> None:
    assert reuse.vary_names(answer) == names


@pytest.mark.parametrize(
    ("stored", "asked", "selected"),
    [
        pytest.param({b"accept": b"a"}, {b"accept": b"a"}, True, id="§4.1 the same"),
        pytest.param({b"accept": b"a"}, {b"accept": b"b"}, False, id="§4.1 another"),
        pytest.param({b"accept": b"a"}, {}, False, id="§4.1 left out"),
        pytest.param({}, {b"accept": b"a"}, False, id="§4.1 added"),
        pytest.param({}, {}, True, id="§4.1 in neither"),
        pytest.param({b"accept": b"a,  b"}, {b"accept": b"a,b"}, True, id="§4.1 space around commas"),
        pytest.param({b"accept": b"a"}, {b"accept": b"A"}, False, id="§4.1 case counts"),
        pytest.param({b"accept": b""}, {}, False, id="§4.1 empty is not absent"),
    ],
)
def test_selection_by_vary(stored: dict[bytes, bytes], asked: dict[bytes, bytes], selected: bool) -> None:
    vary = reuse.vary_values((b"accept",), tuple(stored.items()))

    assert reuse.selects(vary, asked) is selected


def test_lines_of_a_varied_field_are_combined() -> None:
    lines = [(b"accept", b"a"), (b"x", b"y"), (b"accept", b"b")]

    assert reuse.vary_value(lines, b"accept") == b"a,b"


@given(
    lifetime=st.integers(0, 100),
    age=st.integers(0, 200),
    request_=st.sampled_from(
        [b"", b"no-cache", b"max-age=10", b"min-fresh=10", b"no-store", b"only-if-cached"]
    ),
)
def test_without_leave_nothing_stale_is_sent(lifetime: int, age: int, request_: bytes) -> None:
    verdict = reuse.assess(Terms(lifetime=lifetime), age, directives.parse_request(request_))

    assert isinstance(verdict, MustValidate) or age < lifetime


SECRET = b"f064c46a782c444cb4ba4b6434288f7c"


@pytest.mark.parametrize(
    "name", [b"x-auth-token", b"x-storage-token", b"x-service-token", b"authorization", b"cookie"]
)
def test_of_a_secret_that_an_answer_varies_on_a_digest_is_kept(name: bytes) -> None:
    vary = reuse.vary_values([name], [(name, SECRET)])

    assert SECRET not in repr(vary).encode()
    assert reuse.selects(vary, {name: SECRET})
    assert not reuse.selects(vary, {name: b"another"})
    assert not reuse.selects(vary, {})
