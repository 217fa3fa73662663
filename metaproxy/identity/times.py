"""Times that identity writes, by our own clock.

Keystone writes ``2026-11-24T12:00:00.000000Z``, Rackspace ``2026-11-24T12:00:00.000-06:00``. Identity
alone decides when a token ends: where its answer carries a Date (RFC 9110 §6.6.1), what counts is how
long after that Date the expiry lies, so that a clock of ours that is off by seconds or minutes neither
lengthens nor cuts a token's life. A Date that is no HTTP date, or lies too far from our clock, is ignored.

Years outside 1 to 9999 are not times. ``datetime`` reports some of them as ValueError and others as
OverflowError.
"""

from datetime import UTC, datetime

import httpx

from metaproxy.clock import Clock
from metaproxy.identity.troubles import IdentityUnavailable, Trouble
from metaproxy.protocol.caching import dates

LARGEST_SKEW = 300.0
"""Seconds by which identity's clock may differ from ours and still be taken for right."""


def seconds_since_epoch(text: str) -> float:
    """Return the instant that ``text`` writes (ISO 8601; UTC where it names no zone).

    Raises IdentityUnavailable for text that writes none.
    """
    try:
        instant = datetime.fromisoformat(text.upper())  # RFC 3339 §5.6: "T" and "Z" may be small
        return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise IdentityUnavailable(Trouble.NONSENSE, "a time that is none") from None


def by_our_clock(instant: float, headers: httpx.Headers, wall: Clock) -> float:
    """Return ``instant``, which identity wrote in an answer with ``headers``, by our own clock."""
    date = dates.parse(headers.get("date", "").encode())
    if date is None:
        return instant
    skew = date - wall()
    return instant - skew if 1.0 < abs(skew) <= LARGEST_SKEW else instant
