"""Times that identity writes, by our own clock."""

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from metaproxy.identity.times import by_our_clock, seconds_since_epoch
from metaproxy.identity.troubles import LONGEST_RETRY_AFTER, IdentityUnavailable, retry_after
from tests.identities import NOW, FakeClock


@pytest.mark.parametrize(
    "text",
    [
        "2027-01-15T08:00:00Z",
        "2027-01-15T08:00:00.000000Z",
        "2027-01-15T02:00:00.000-06:00",
        "2027-01-15T08:00:00",
    ],
)
def test_every_way_of_writing_an_instant_is_read(text: str) -> None:
    assert seconds_since_epoch(text) == NOW


@pytest.mark.parametrize("text", ["", "soon", "2027-13-01T00:00:00Z"])
def test_what_is_no_instant_is_trouble(text: str) -> None:
    with pytest.raises(IdentityUnavailable):
        seconds_since_epoch(text)


@pytest.mark.parametrize(
    ("date", "instant"),
    [
        (None, NOW + 100),
        ("Fri, 15 Jan 2027 08:00:00 GMT", NOW + 100),
        ("Fri, 15 Jan 2027 08:00:01 GMT", NOW + 100),
        ("Fri, 15 Jan 2027 08:01:00 GMT", NOW + 40),
        ("Fri, 15 Jan 2027 07:59:00 GMT", NOW + 160),
        ("Fri, 15 Jan 2027 12:00:00 GMT", NOW + 100),
        ("today", NOW + 100),
    ],
)
def test_skew_is_taken_out_where_it_can_be_believed(date: str | None, instant: float) -> None:
    headers = httpx.Headers({"Date": date} if date else {})

    assert by_our_clock(NOW + 100, headers, FakeClock(NOW)) == instant


YEARS = st.one_of(
    st.sampled_from(["0", "0000", "0001", "9999", "10000", "99999", "-1", "-2026", "9" * 400, "nan", ""]),
    st.integers(min_value=-(10**30), max_value=10**30).map(str),
)
ZONES = st.sampled_from(["GMT", "-0000", "+2359", "-2359", "+9999999999", "Z", ""])
HTTP_DATES = st.one_of(
    st.builds("Fri, 15 Jan {} 08:00:00 {}".format, YEARS, ZONES),
    st.builds("Friday, 15-Jan-{} 08:00:00 {}".format, YEARS, ZONES),
    st.builds("Fri Jan 15 08:00:00 {}".format, YEARS),
    st.text(max_size=40),
)
INSTANTS = st.one_of(
    st.builds("{}-01-15T08:00:00{}".format, YEARS, st.sampled_from(["Z", "", "+23:59", "-23:59", "+99:99"])),
    st.text(max_size=40),
)


@given(HTTP_DATES)
@example("Fri, 15 Jan 99999999999999999999 08:00:00 GMT")
@example("Fri, 15 Jan 2027 08:00:00 +99999999999999999")
def test_no_date_of_identity_is_an_error_of_ours(text: str) -> None:
    headers = httpx.Headers([(b"date", text.encode())])

    assert abs(by_our_clock(NOW, headers, FakeClock(NOW)) - NOW) <= 300


@given(HTTP_DATES)
@example("Fri, 15 Jan 99999999999999999999 08:00:00 GMT")
@example("\u0663")
def test_no_retry_after_of_identity_is_an_error_of_ours(text: str) -> None:
    assert 1 <= retry_after(text, FakeClock(NOW)) <= LONGEST_RETRY_AFTER


@given(INSTANTS)
@example("9999-12-31T23:59:59-23:59")
@example("0001-01-01T00:00:00+23:59")
def test_an_instant_is_read_or_trouble(text: str) -> None:
    try:
        seconds = seconds_since_epoch(text)
    except IdentityUnavailable:
        return
    assert -7e10 < seconds < 3e11
