"""RFC 9110 §14: ranges cut from a whole stored answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaproxy.protocol.caching import ranges
from metaproxy.protocol.caching.ranges import Part, Unsatisfiable, Whole


@pytest.mark.parametrize(
    ("value", "selected"),
    [
        pytest.param(b"bytes=0-4", Part(0, 4, 10), id="§14.1.2 first to last"),
        pytest.param(b"bytes=9-9", Part(9, 9, 10), id="§14.1.2 one byte"),
        pytest.param(b"bytes=5-", Part(5, 9, 10), id="§14.1.2 to the end"),
        pytest.param(b"bytes=-3", Part(7, 9, 10), id="§14.1.2 the last bytes"),
        pytest.param(b"bytes=-30", Part(0, 9, 10), id="§14.1.2 more than there are"),
        pytest.param(b"bytes=5-50", Part(5, 9, 10), id="§14.1.2 past the end"),
        pytest.param(b"Bytes=0-4", Part(0, 4, 10), id="§14.1 units have no case"),
        pytest.param(b"bytes=10-", Unsatisfiable(10), id="§14.1.2 beyond the end"),
        pytest.param(b"bytes=-0", Unsatisfiable(10), id="§14.1.2 no bytes at all"),
        pytest.param(b"bytes=4-2", Whole(), id="§14.1.1 backwards"),
        pytest.param(b"bytes=0-1,3-4", Whole(), id="§14.2 several"),
        pytest.param(b"bytes=-", Whole(), id="§14.1.1 nothing"),
        pytest.param(b"bytes=a-b", Whole(), id="§14.1.1 no numbers"),
        pytest.param(b"items=0-4", Whole(), id="§14.1 another unit"),
        pytest.param(b"", Whole(), id="§14.2 empty"),
    ],
)
def test_what_a_range_selects_of_ten_bytes(value: bytes, selected: object) -> None:
    assert ranges.select(value, 10) == selected


def test_no_range_of_nothing_can_be_satisfied() -> None:
    assert ranges.select(b"bytes=0-", 0) == Unsatisfiable(0)
    assert ranges.select(b"bytes=-5", 0) == Unsatisfiable(0)


def test_content_range_tells_the_part_and_the_whole() -> None:
    assert Part(0, 4, 10).content_range() == b"bytes 0-4/10"
    assert Unsatisfiable(10).content_range() == b"bytes */10"


MODIFIED = b"Sun, 06 Nov 1994 08:49:37 GMT"


@pytest.mark.parametrize(
    ("if_range", "date", "holds"),
    [
        pytest.param(b'"1"', MODIFIED, True, id="§13.1.5 the same strong tag"),
        pytest.param(b'"2"', MODIFIED, False, id="§13.1.5 another tag"),
        pytest.param(b'W/"1"', MODIFIED, False, id="§13.1.5 a weak tag never"),
        pytest.param(MODIFIED, b"Sun, 06 Nov 1994 08:50:37 GMT", True, id="§13.1.5 the same date"),
        pytest.param(MODIFIED, b"Sun, 06 Nov 1994 08:49:38 GMT", False, id="§8.8.2.2 a weak date"),
        pytest.param(MODIFIED, b"Sun, 06 Nov 1994 08:40:00 GMT", False, id="§8.8.2.2 a date to come"),
        pytest.param(MODIFIED, b"yesterday", False, id="§8.8.2.2 no date to compare with"),
        pytest.param(
            b"Sun, 06 Nov 1994 08:49:38 GMT",
            b"Mon, 07 Nov 1994 08:00:00 GMT",
            False,
            id="§13.1.5 another date",
        ),
        pytest.param(b"", MODIFIED, False, id="§13.1.5 nothing"),
    ],
)
def test_if_range(if_range: bytes, date: bytes, holds: bool) -> None:
    stored = [(b"last-modified", MODIFIED), (b"date", date)]

    assert ranges.if_range_holds(if_range, b'"1"', stored) is holds


@given(value=st.from_regex(rb"bytes=\d{0,3}-\d{0,3}", fullmatch=True), length=st.integers(0, 200))
def test_a_part_lies_within_the_whole(value: bytes, length: int) -> None:
    match ranges.select(value, length):
        case Part(first, last, total):
            assert 0 <= first <= last < total == length
        case Unsatisfiable(total):
            assert total == length
