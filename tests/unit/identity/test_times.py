"""Times that identity writes, by our own clock."""

import httpx
import pytest

from metaproxy.identity.times import by_our_clock, seconds_since_epoch
from metaproxy.identity.troubles import IdentityUnavailable
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
