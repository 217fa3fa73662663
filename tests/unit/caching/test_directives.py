"""RFC 9111 §5.2: Cache-Control; RFC 9213: targeted fields."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaproxy.protocol.caching import directives
from metaproxy.protocol.caching.directives import DELTA_MAX, RequestDirectives, ResponseDirectives

RESPONSES: list[tuple[str, bytes, dict[str, Any]]] = [
    ("§5.2.2.1 max-age", b"max-age=60", {"max_age": 60}),
    ("§5.2.2.1 max-age as a quoted string", b'max-age="60"', {"max_age": 60}),
    ("§5.2.2.2 must-revalidate", b"must-revalidate", {"must_revalidate": True}),
    ("§5.2.2.3 must-understand", b"must-understand, no-store", {"must_understand": True, "no_store": True}),
    ("§5.2.2.4 no-cache", b"no-cache", {"no_cache": True}),
    (
        "§5.2.2.4 no-cache with fields",
        b'no-cache="Set-Cookie, x-a"',
        {"no_cache_fields": {b"set-cookie", b"x-a"}},
    ),
    ("§5.2.2.4 no-cache in both forms is the strict one", b'no-cache, no-cache="x"', {"no_cache": True}),
    ("§5.2.2.4 no-cache with no fields is the strict one", b'no-cache=""', {"no_cache": True}),
    ("§5.2.2.5 no-store", b"no-store", {"no_store": True}),
    ("§5.2.2.6 no-transform says nothing of storing", b"no-transform", {}),
    ("§5.2.2.7 private", b"private", {"private": True}),
    ("§5.2.2.7 private with fields", b'private="x-user"', {"private_fields": {b"x-user"}}),
    ("§5.2.2.7 private with a field as a token", b"private=x-user", {"private_fields": {b"x-user"}}),
    ("§5.2.2.8 proxy-revalidate", b"proxy-revalidate", {"proxy_revalidate": True}),
    ("§5.2.2.9 public", b"public", {"public": True}),
    ("§5.2.2.10 s-maxage", b"s-maxage=5, max-age=60", {"s_maxage": 5, "max_age": 60}),
    ("§5.2.3 an unknown extension is ignored", b'community="UCI", max-age=1', {"max_age": 1}),
    ("§5.2.3 an extension with a comma in its argument", b'x="a, no-store", max-age=1', {"max_age": 1}),
    ("§5.2 names are case-insensitive", b"Max-AGE=60, NO-STORE", {"max_age": 60, "no_store": True}),
    ("§5.2 no space after the comma", b"max-age=60,public", {"max_age": 60, "public": True}),
    ("§5.2 empty members", b", ,max-age=60,,", {"max_age": 60}),
    ("§1.2.2 a huge number", b"max-age=99999999999999999999999", {"max_age": DELTA_MAX}),
    ("§1.2.2 leading zeros", b"max-age=0060", {"max_age": 60}),
    ("§4.2.1 a negative number is stale", b"max-age=-60", {"max_age": 0}),
    ("§4.2.1 a decimal number is stale", b"max-age=60.5", {"max_age": 0}),
    ("§4.2.1 a number with letters is stale", b"max-age=60s", {"max_age": 0}),
    ("§4.2.1 no number is stale", b"max-age", {"max_age": 0}),
    ("§4.2.1 an empty number is stale", b"max-age=", {"max_age": 0}),
    ("§4.2.1 spaces around the sign are stale", b"max-age = 60", {"max_age": 0}),
    ("§4.2.1 single quotes are stale", b"max-age='60'", {"max_age": 0}),
    ("§4.2.1 something after the quotes is stale", b'max-age="60"x', {"max_age": 0}),
    ("§4.2.1 the same value twice", b"max-age=60, max-age=60", {"max_age": 60}),
    ("§4.2.1 values that disagree are stale", b"max-age=60, max-age=5", {"max_age": 0}),
    ("RFC 5861 §3", b"stale-while-revalidate=30", {"stale_while_revalidate": 30}),
    ("RFC 5861 §4", b"stale-if-error=300", {"stale_if_error": 300}),
    ("RFC 8246 immutable", b"immutable", {"immutable": True}),
]


@pytest.mark.parametrize(
    ("value", "expected"), [pytest.param(value, fields, id=name) for name, value, fields in RESPONSES]
)
def test_the_directives_of_a_response(value: bytes, expected: dict[str, Any]) -> None:
    fields: dict[str, Any] = {
        name: frozenset(found) if isinstance(found, set) else found for name, found in expected.items()
    }

    assert directives.parse_response(value) == ResponseDirectives(**fields)


REQUESTS: list[tuple[str, bytes, bytes, dict[str, Any]]] = [
    ("§5.2.1.1 max-age", b"max-age=10", b"", {"max_age": 10}),
    ("§5.2.1.1 max-age zero", b"max-age=0", b"", {"max_age": 0}),
    ("§5.2.1.2 max-stale", b"max-stale=10", b"", {"max_stale": 10}),
    ("§5.2.1.2 max-stale without end", b"max-stale", b"", {"max_stale": float("inf")}),
    ("§5.2.1.3 min-fresh", b"min-fresh=20", b"", {"min_fresh": 20}),
    ("§5.2.1.4 no-cache", b"no-cache", b"", {"no_cache": True}),
    ("§5.2.1.5 no-store", b"no-store", b"", {"no_store": True}),
    ("§5.2.1.6 no-transform", b"no-transform", b"", {}),
    ("§5.2.1.7 only-if-cached", b"only-if-cached", b"", {"only_if_cached": True}),
    ("RFC 5861 §4 stale-if-error", b"stale-if-error=60", b"", {"stale_if_error": 60}),
    ("§5.4 Pragma where there is no Cache-Control", b"", b"no-cache", {"no_cache": True}),
    ("§5.4 Pragma does not count beside Cache-Control", b"max-age=10", b"no-cache", {"max_age": 10}),
    ("§5.4 another Pragma", b"", b"x-foo", {}),
]


@pytest.mark.parametrize(
    ("cache_control", "pragma", "expected"),
    [pytest.param(value, pragma, fields, id=name) for name, value, pragma, fields in REQUESTS],
)
def test_the_directives_of_a_request(cache_control: bytes, pragma: bytes, expected: dict[str, Any]) -> None:
    assert directives.parse_request(cache_control, pragma) == RequestDirectives(**expected)


def test_a_targeted_field_goes_before_cache_control() -> None:
    fields = [(b"cache-control", b"no-store"), (b"cdn-cache-control", b"max-age=9")]

    said = directives.of_response(fields)

    assert (said.no_store, said.max_age, said.targeted) == (False, 9, True)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b"", id="RFC 9213 §2.1 empty"),
        pytest.param(b"max-age=10&", id="RFC 9213 §2.1 no dictionary"),
        pytest.param(b"Max-Age=9", id="RFC 9651 §3.1.2 a key in upper case"),
        pytest.param(b'max-age="9"', id="RFC 9213 §2.1 a string in place of a number"),
        pytest.param(b"max-age", id="RFC 9213 §2.1 no number"),
        pytest.param(b'max-age="9', id="RFC 9651 §3.3.3 an open string"),
    ],
)
def test_a_targeted_field_that_does_not_parse_is_as_if_it_were_not_there(value: bytes) -> None:
    fields = [(b"cache-control", b"max-age=60"), (b"cdn-cache-control", value)]

    said = directives.of_response(fields)

    assert (said.max_age, said.targeted) == (60, False)


def test_the_field_that_names_this_cache_goes_before_that_for_all_cdns() -> None:
    fields = [(b"cdn-cache-control", b"max-age=9"), (b"metaproxy-cache-control", b"max-age=3")]

    assert directives.of_response(fields).max_age == 3


def test_a_field_for_other_caches_is_not_ours() -> None:
    fields = [(b"cache-control", b"max-age=60"), (b"other-cache-control", b"max-age=9")]

    assert directives.of_response(fields).max_age == 60


def test_parameters_of_a_targeted_directive_mean_nothing() -> None:
    assert directives.of_response([(b"cdn-cache-control", b"max-age=9;x=y, no-store;z")]).max_age == 9


def test_a_targeted_directive_that_is_false_is_not_there() -> None:
    assert not directives.of_response([(b"cdn-cache-control", b"no-store=?0, max-age=9")]).no_store


def test_several_lines_are_one_list() -> None:
    fields = [(b"cache-control", b"max-age=60"), (b"cache-control", b"must-revalidate")]

    said = directives.of_response(fields)

    assert (said.max_age, said.must_revalidate) == (60, True)


@given(st.binary(max_size=60))
def test_no_bytes_break_the_reading(value: bytes) -> None:
    directives.parse_response(value)
    directives.parse_request(value, value)
    directives.of_response([(b"cdn-cache-control", value)])


@given(st.integers(min_value=0, max_value=2**40))
def test_every_number_of_seconds_is_read_or_bounded(seconds: int) -> None:
    assert directives.parse_response(b"max-age=%d" % seconds).max_age == min(seconds, DELTA_MAX)


@pytest.mark.parametrize("octets", [b",", b'"', b'\\"', b'",', b'a="b",', b'a="\\"",'])
def test_a_targeted_field_of_any_octets_is_read_in_time_that_grows_with_its_length(octets: bytes) -> None:
    value = octets * (200_000 // len(octets))

    # Were each octet looked at once more for every other one, this would take minutes.
    assert directives.of_response([(b"cdn-cache-control", value)]) is not None


def test_a_comma_in_quotes_does_not_end_a_member_of_a_targeted_field() -> None:
    told = directives.of_response([(b"cdn-cache-control", b'x="a, no-store \\" ,", max-age=7')])

    assert (told.no_store, told.max_age) == (False, 7)
