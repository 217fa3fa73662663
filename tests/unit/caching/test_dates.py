"""RFC 9110 §5.6.7: HTTP dates."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaproxy.protocol.caching import dates

MOMENT = 784111777.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        pytest.param(b"Sun, 06 Nov 1994 08:49:37 GMT", MOMENT, id="IMF-fixdate"),
        pytest.param(b"Sunday, 06-Nov-94 08:49:37 GMT", MOMENT, id="RFC 850"),
        pytest.param(b"Sun Nov  6 08:49:37 1994", MOMENT, id="asctime"),
        pytest.param(b"Tue Nov 16 08:49:37 1993", 753439777.0, id="asctime with a two-digit day"),
        pytest.param(b"Thu, 01 Jan 1970 00:00:00 GMT", 0.0, id="the epoch"),
        pytest.param(b"Sat, 31 Dec 2016 23:59:60 GMT", 1483228799.0, id="a leap second"),
        pytest.param(b"Mon, 06 Nov 1994 08:49:37 GMT", MOMENT, id="a wrong weekday is let pass"),
        pytest.param(b"sun, 06 nov 1994 08:49:37 gmt", MOMENT, id="names in lower case"),
        pytest.param(b"SUNDAY, 06-NOV-94 08:49:37 GMT", MOMENT, id="RFC 850 in upper case"),
        pytest.param(b"sun nov  6 08:49:37 1994", MOMENT, id="asctime in lower case"),
    ],
)
def test_a_date_in_any_of_the_three_forms_is_read(text: bytes, seconds: float) -> None:
    assert dates.parse(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"0", id="zero"),
        pytest.param(b"-1", id="minus one"),
        pytest.param(b"Sun, 06 Nov 1994 08:49:37", id="no zone"),
        pytest.param(b"Sun, 06 Nov 1994 08:49:37 UTC", id="another zone"),
        pytest.param(b"Sun, 06 Nov 1994 08:49:37 +0100", id="an offset"),
        pytest.param(b"Sun, 6 Nov 1994 08:49:37 GMT", id="a day of one digit"),
        pytest.param(b"Sun, 06 Nov 94 08:49:37 GMT", id="a year of two digits"),
        pytest.param(b"Sun, 31 Feb 1994 08:49:37 GMT", id="a day that does not exist"),
        pytest.param(b"Sun, 06 Nov 1994 24:49:37 GMT", id="an hour that does not exist"),
        pytest.param(b"Sun, 06-Nov-1994 08:49:37 GMT", id="dashes in an IMF-fixdate"),
        pytest.param(b"Sun, 06 Nov 1994 08:49:37 GMT ", id="something after it"),
        pytest.param(b"1994-11-06T08:49:37Z", id="ISO 8601"),
    ],
)
def test_what_is_no_date_is_not_guessed(text: bytes) -> None:
    assert dates.parse(text) is None


@pytest.mark.parametrize(
    ("text", "year"),
    [
        pytest.param(b"Friday, 01-Jan-49 00:00:00 GMT", 2049, id="within fifty years"),
        pytest.param(b"Friday, 01-Jan-99 00:00:00 GMT", 1999, id="more than fifty years ahead"),
    ],
)
def test_a_year_of_two_digits_is_never_more_than_fifty_years_ahead(text: bytes, year: int) -> None:
    seconds = dates.parse(text, this_year=2026)

    assert seconds is not None
    assert dates.render(seconds).split()[3] == b"%d" % year


@given(st.integers(min_value=0, max_value=253_402_300_799))
def test_every_moment_is_read_as_it_is_written(seconds: int) -> None:
    assert dates.parse(dates.render(seconds)) == seconds
