"""RFC 9111 §4.3 and §3.2: validation, asked and answered."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaproxy.protocol.caching import dates, validation

Fields = list[tuple[bytes, bytes]]

MODIFIED = 1_799_000_000.0


def moment(offset: float = 0.0) -> bytes:
    return dates.render(MODIFIED + offset)


@pytest.mark.parametrize(
    ("request_", "unchanged"),
    [
        pytest.param([], False, id="§4.3.2 no condition"),
        pytest.param([(b"if-none-match", b'"1"')], True, id="RFC 9110 §13.1.2 the same tag"),
        pytest.param([(b"if-none-match", b'"2"')], False, id="RFC 9110 §13.1.2 another tag"),
        pytest.param([(b"if-none-match", b'"2", "1"')], True, id="RFC 9110 §13.1.2 one of several"),
        pytest.param(
            [(b"if-none-match", b'"2"'), (b"if-none-match", b'"1"')], True, id="RFC 9110 §5.3 two lines"
        ),
        pytest.param([(b"if-none-match", b'W/"1"')], True, id="RFC 9110 §13.1.2 compared weakly"),
        pytest.param([(b"if-none-match", b"*")], True, id="RFC 9110 §13.1.2 any"),
        pytest.param([(b"if-none-match", b"1")], False, id="RFC 9110 §8.8.3 no quotes, no tag"),
        pytest.param([(b"if-modified-since", moment())], True, id="RFC 9110 §13.1.3 the same date"),
        pytest.param([(b"if-modified-since", moment(1))], True, id="RFC 9110 §13.1.3 a later date"),
        pytest.param([(b"if-modified-since", moment(-1))], False, id="RFC 9110 §13.1.3 an earlier date"),
        pytest.param([(b"if-modified-since", b"yesterday")], False, id="RFC 9110 §13.1.3 no date"),
        pytest.param(
            [(b"if-modified-since", moment()), (b"if-modified-since", moment())],
            False,
            id="RFC 9110 §13.1.3 two dates",
        ),
        pytest.param(
            [(b"if-none-match", b'"2"'), (b"if-modified-since", moment())],
            False,
            id="§4.3.2 the tag goes first",
        ),
    ],
)
def test_whether_a_client_has_the_stored_answer(request_: Fields, unchanged: bool) -> None:
    assert validation.not_modified(request_, etag=b'"1"', last_modified=MODIFIED) is unchanged


def test_without_any_date_if_modified_since_says_nothing() -> None:
    request = [(b"if-modified-since", moment())]

    assert not validation.not_modified(request, etag=b'"1"', last_modified=None)


@pytest.mark.parametrize(
    ("stored", "asked"),
    [
        pytest.param([], [], id="§4.3.1 no validator"),
        pytest.param([(b"etag", b'"1"')], [(b"if-none-match", b'"1"')], id="§4.3.1 an ETag"),
        pytest.param([(b"etag", b'W/"1"')], [(b"if-none-match", b'W/"1"')], id="§4.3.1 a weak ETag"),
        pytest.param(
            [(b"last-modified", moment())], [(b"if-modified-since", moment())], id="§4.3.1 Last-Modified"
        ),
        pytest.param([(b"last-modified", b"long ago")], [], id="§4.3.1 no date in Last-Modified"),
        pytest.param(
            [(b"etag", b'"1"'), (b"last-modified", moment())],
            [(b"if-none-match", b'"1"'), (b"if-modified-since", moment())],
            id="§4.3.1 both",
        ),
    ],
)
def test_how_the_origin_is_asked(stored: Fields, asked: Fields) -> None:
    assert validation.conditions(stored) == asked


@pytest.mark.parametrize(
    ("stored", "answer", "confirmed"),
    [
        pytest.param([(b"etag", b'"1"')], [], True, id="§4.3.4 a 304 without validators"),
        pytest.param([(b"etag", b'"1"')], [(b"etag", b'"1"')], True, id="§4.3.4 the same ETag"),
        pytest.param([(b"etag", b'"1"')], [(b"etag", b'"2"')], False, id="§4.3.4 another ETag"),
        pytest.param([(b"etag", b'W/"1"')], [(b"etag", b'"1"')], True, id="§4.3.4 compared weakly"),
        pytest.param([], [(b"etag", b'"1"')], False, id="§4.3.4 an ETag where none was stored"),
        pytest.param(
            [(b"last-modified", moment())],
            [(b"last-modified", moment())],
            True,
            id="§4.3.4 the same Last-Modified",
        ),
        pytest.param(
            [(b"last-modified", moment())],
            [(b"last-modified", moment(1))],
            False,
            id="§4.3.4 another Last-Modified",
        ),
    ],
)
def test_whether_a_304_speaks_of_the_stored_answer(stored: Fields, answer: Fields, confirmed: bool) -> None:
    assert validation.confirms(stored, answer) is confirmed


@pytest.mark.parametrize(
    ("stored", "answer", "expected"),
    [
        pytest.param([(b"x", b"1")], [(b"x", b"2")], [(b"x", b"2")], id="§3.2 a field is replaced"),
        pytest.param(
            [(b"x", b"1"), (b"x", b"2")],
            [(b"x", b"3")],
            [(b"x", b"3")],
            id="§3.2 all lines of it are replaced",
        ),
        pytest.param(
            [(b"x", b"1")], [(b"y", b"2")], [(b"x", b"1"), (b"y", b"2")], id="§3.2 a field is added"
        ),
        pytest.param([(b"x", b"1")], [], [(b"x", b"1")], id="§3.2 a field that is not told stays"),
        pytest.param(
            [(b"content-type", b"a")], [(b"content-type", b"b")], [(b"content-type", b"a")], id="§3.2 type"
        ),
        pytest.param(
            [(b"content-encoding", b"a")],
            [(b"content-encoding", b"b")],
            [(b"content-encoding", b"a")],
            id="§3.2 encoding",
        ),
        pytest.param([], [(b"content-length", b"0")], [], id="§3.2 Content-Length is not updated"),
        pytest.param([], [(b"connection", b"close")], [], id="§3.1 hop-by-hop"),
        pytest.param([], [(b"set-cookie", b"a=b")], [], id="§7.3 Set-Cookie"),
    ],
)
def test_how_a_304_updates_the_stored_fields(stored: Fields, answer: Fields, expected: Fields) -> None:
    assert validation.updated(stored, answer) == expected


def test_a_304_has_no_fields_that_describe_content() -> None:
    stored = [(b"content-type", b"a"), (b"content-encoding", b"b"), (b"etag", b'"1"'), (b"vary", b"x")]

    assert validation.not_modified_fields(stored) == [(b"etag", b'"1"'), (b"vary", b"x")]


def test_a_flight_asks_without_the_clients_conditions() -> None:
    request = [(b"if-none-match", b'"1"'), (b"accept", b"a"), (b"if-modified-since", moment())]

    assert validation.without_conditions(request) == [(b"accept", b"a")]


def test_a_flight_asks_for_the_whole() -> None:
    request = [(b"range", b"bytes=0-1"), (b"accept", b"a"), (b"if-range", b'"1"')]

    assert validation.without_conditions(request) == [(b"accept", b"a")]


@pytest.mark.parametrize(
    ("etag", "if_none_match", "unchanged"),
    [
        pytest.param(b'"a,b"', b'"a,b"', True, id="a comma"),
        pytest.param(b'"a,b"', b'W/"a,b"', True, id="a comma, weak"),
        pytest.param(b'"a,b"', b'"z", "a,b"', True, id="a comma, in a list"),
        pytest.param(b'"a,b"', b'"z","a,b" ,"y"', True, id="a comma, in a list without spaces"),
        pytest.param(b'"a,b"', b',, "a,b",', True, id="empty members"),
        pytest.param(b'"b"', b'"a,b"', False, id="a part of a tag"),
        pytest.param(b'"b"', b'"a,"b","c"', False, id="quotes that do not match"),
        pytest.param(b'"a b"', b'"a b"', True, id="a space, which some origins write"),
        pytest.param(b"xx", b"xx", True, id="no quotes, as the origin wrote it"),
        pytest.param(b"xx", b'"a,xx,b"', False, id="no quotes, within another tag"),
        pytest.param(b"xx", b"a,xx,b", False, id="no quotes, within another tag without quotes"),
        pytest.param(b"xx", b'"xx"', False, id="quotes that the origin did not write"),
        pytest.param(b'"xx"', b"xx", False, id="no quotes, but the origin wrote some"),
        pytest.param(b'"1"', b'*, "2"', False, id="a star in a list"),
        pytest.param(b'"1"', b'w/"1"', False, id="weakness is told in upper case"),
        pytest.param(b'""', b'""', True, id="an empty tag"),
    ],
)
def test_entity_tags_are_compared_whole(etag: bytes, if_none_match: bytes, unchanged: bool) -> None:
    request = [(b"if-none-match", if_none_match)]

    assert validation.not_modified(request, etag=etag, last_modified=None) is unchanged


TAGS = st.from_regex(rb'(W/)?"[^"\r\n]{0,6}"', fullmatch=True)


@given(
    stored=TAGS, listed=st.lists(TAGS, min_size=1, max_size=5), comma=st.sampled_from([b",", b", ", b" ,, "])
)
def test_for_every_list_of_tags_the_stored_one_matches_if_it_is_in_the_list(
    stored: bytes, listed: list[bytes], comma: bytes
) -> None:
    request = [(b"if-none-match", comma.join(listed))]
    is_listed = stored.removeprefix(b"W/") in [tag.removeprefix(b"W/") for tag in listed]

    assert validation.not_modified(request, etag=stored, last_modified=None) is is_listed


@given(one=st.binary(max_size=50), other=st.binary(max_size=50))
def test_our_etag_tells_contents_apart(one: bytes, other: bytes) -> None:
    tags = validation.strong_etag(one, b"text/plain"), validation.strong_etag(other, b"text/plain")

    assert (tags[0] == tags[1]) is (one == other)


def test_our_etag_is_strong_and_knows_the_media_type() -> None:
    etag = validation.strong_etag(b"1", b"application/json")

    assert etag.startswith(b'"')
    assert etag.endswith(b'"')
    assert etag != validation.strong_etag(b"1", b"application/xml")
