from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaproxy.protocol.paths import ambiguity

UNAMBIGUOUS = [
    b"/",
    b"/v2.1/",
    b"/v2.1/images/8c1e0c36/metadata/label",
    b"/images/metadata/.hidden",
    b"/images/a..b/metadata",
    b"/images/%61bc",
    b"/images/caf%C3%A9",
    b"/images/100%25",
    b"/~user/!$&'()*+,=:@",
    b"/images/...",
]

AMBIGUOUS = [
    (b"", "does not start with a slash"),
    (b"*", "does not start with a slash"),
    (b"images", "does not start with a slash"),
    (b"//images", "empty segment"),
    (b"/images//metadata", "empty segment"),
    (b"/images/;jsessionid=1", "parameters"),
    (b"/images/semi%3Bcolon", "parameters"),
    (b"/servers/action%3bx=1", "parameters"),
    (b"/images/.", "dot segment"),
    (b"/images/../servers", "dot segment"),
    (b"/images/..", "dot segment"),
    (b"/images/%2e%2e/servers", "dot segment"),
    (b"/images/.%2E/servers", "dot segment"),
    (b"/images%2Fid", "escaped slash"),
    (b"/images%2fid", "escaped slash"),
    (b"/images%5cid", "escaped slash, backslash"),
    (b"/images%00", "control"),
    (b"/images%0d%0aX: y", "octet that must be escaped"),
    (b"/images%0d%0a", "control"),
    (b"/images%7f", "control"),
    (b"/images\\id", "octet that must be escaped"),
    (b"/images id", "octet that must be escaped"),
    (b"/images/{id}", "octet that must be escaped"),
    (b"/images/\xc3\xa9", "octet that must be escaped"),
    (b"/images/%", "octet that must be escaped"),
    (b"/images/%zz", "octet that must be escaped"),
    (b"/images/%252e%252e", "escaped twice"),
    (b"/images/%252Fid", "escaped twice"),
    (b"/images/%C3", "not UTF-8"),
    (b"/images/%C0%AF", "not UTF-8"),
]


@pytest.mark.parametrize("raw_path", UNAMBIGUOUS)
def test_a_path_that_reads_in_one_way_only_is_passed(raw_path: bytes) -> None:
    assert ambiguity(raw_path) is None


@pytest.mark.parametrize(("raw_path", "problem"), AMBIGUOUS)
def test_a_path_that_two_readers_could_read_differently_is_named(raw_path: bytes, problem: str) -> None:
    assert problem in (ambiguity(raw_path) or "")


@given(st.binary(max_size=60))
def test_a_passed_path_decodes_once_to_the_same_segments(tail: bytes) -> None:
    raw_path = b"/" + tail
    if ambiguity(raw_path) is None:
        decoded = unquote(raw_path.decode("ascii"), errors="strict")
        assert decoded.count("/") == raw_path.count(b"/")
        assert "\\" not in decoded
        assert not {".", ".."} & set(decoded.split("/"))


@given(st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=4))
def test_every_path_of_plain_escaped_segments_is_passed_unless_its_data_look_like_structure(
    segments: list[str],
) -> None:
    try:
        raw_path = "".join("/" + quote(segment, safe="") for segment in segments).encode("ascii")
    except UnicodeEncodeError:  # a lone surrogate is no text
        return
    suspicious = any(
        segment in (".", "..") or "%" in segment or any(c in "/;\\\x7f" or c < " " for c in segment)
        for segment in segments
    )
    if not suspicious:
        assert ambiguity(raw_path) is None
