"""HTTP dates (RFC 9110 §5.6.7).

Three forms are read: IMF-fixdate, the obsolete RFC 850 form and asctime. Only IMF-fixdate is written.
A cache matches them without regard to case (RFC 9111 §4.2). The zone is GMT: what looks otherwise is no date,
and a cache must take an answer with an invalid Expires for stale (RFC 9111 §5.3), so nothing is guessed here.
"""

import re
from calendar import timegm
from datetime import UTC, datetime
from email.utils import formatdate
from functools import lru_cache

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_TIME = r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"
_MONTH = f"(?P<month>{'|'.join(MONTHS)})"
_FORMS = (
    re.compile(rf"(?:{'|'.join(DAYS)}), (?P<day>\d\d) {_MONTH} (?P<year>\d{{4}}) {_TIME} GMT", re.IGNORECASE),
    re.compile(
        r"(?:Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday), "
        rf"(?P<day>\d\d)-{_MONTH}-(?P<year>\d\d) {_TIME} GMT",
        re.IGNORECASE,
    ),
    re.compile(rf"(?:{'|'.join(DAYS)}) {_MONTH} (?P<day>\d\d| \d) {_TIME} (?P<year>\d{{4}})", re.IGNORECASE),
)


LONGEST = 40
"""More octets than any form has."""


def parse(field_value: bytes, this_year: int = 2026) -> float | None:
    """Return seconds since the epoch, or None for what is no HTTP date.

    ``this_year`` decides the century of a two-digit year: a date that seems more than 50 years ahead
    lies in the past.
    """
    return _parse(field_value, this_year) if len(field_value) <= LONGEST else None


@lru_cache(maxsize=1024)
def _parse(field_value: bytes, this_year: int) -> float | None:
    text = field_value.decode("latin-1")
    for form in _FORMS:
        if found := form.fullmatch(text):
            return _seconds(found, this_year)
    return None


def render(seconds: float) -> bytes:
    """Return ``seconds`` since the epoch as an IMF-fixdate."""
    return _render(int(seconds))


@lru_cache(maxsize=8)
def _render(seconds: int) -> bytes:
    """Return the date of a moment; all moments of one second have one date."""
    return formatdate(seconds, usegmt=True).encode("ascii")


def _seconds(found: re.Match[str], this_year: int) -> float | None:
    year = int(found["year"])
    if len(found["year"]) == 2:
        year += this_year // 100 * 100
        if year > this_year + 50:
            year -= 100
    second = min(int(found["second"]), 59)  # a leap second is told as the one before it
    month = MONTHS.index(found["month"].title()) + 1
    try:
        moment = datetime(
            year, month, int(found["day"]), int(found["hour"]), int(found["minute"]), second, tzinfo=UTC
        )
    except ValueError:
        return None
    return float(timegm(moment.utctimetuple()))
