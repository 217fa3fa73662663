"""Byte ranges answered from a whole stored answer (RFC 9110 §14, RFC 9111 §3.3).

A single range of a stored 200 is cut from it. Several ranges, other units and what is malformed are
answered with the whole, which is always allowed (§14.2). If-Range wants a strong match (§13.1.5).
"""

import re
from dataclasses import dataclass

from metaproxy.protocol import headers
from metaproxy.protocol.caching import dates

STRONG_SECONDS = 60.0
"""Last-Modified so long before Date is a strong validator, even if their clocks differ (§8.8.2.2)."""

_SINGLE = re.compile(rb"bytes=[ \t]*(\d*)-(\d*)[ \t]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Whole:
    """The range does not apply: the whole answer is sent."""


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes ``first`` to ``last``, both included, of ``length``."""

    first: int
    last: int
    length: int

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return self.last - self.first + 1

    def content_range(self) -> bytes:
        """Return the Content-Range field of the 206."""
        return b"bytes %d-%d/%d" % (self.first, self.last, self.length)


@dataclass(frozen=True, slots=True)
class Unsatisfiable:
    """No byte of the ``length`` there are lies in the range: 416."""

    length: int

    def content_range(self) -> bytes:
        """Return the Content-Range field of the 416."""
        return b"bytes */%d" % self.length


def select(range_value: bytes, length: int) -> Whole | Part | Unsatisfiable:
    """Return what a Range field selects of a body of ``length`` bytes."""
    found = _SINGLE.fullmatch(range_value)
    if not found or found[0] in (b"", b"bytes=-") or not (found[1] or found[2]):
        return Whole()
    if not found[1]:  # the last so many bytes (§14.1.2)
        wanted = int(found[2][:20])
        return (
            Part(max(0, length - wanted), length - 1, length) if wanted and length else Unsatisfiable(length)
        )
    first = int(found[1][:20])
    last = int(found[2][:20]) if found[2] else length - 1
    if last < first and found[2]:
        return Whole()
    if first >= length:
        return Unsatisfiable(length)
    return Part(first, min(last, length - 1), length)


def if_range_holds(if_range: bytes, etag: bytes, stored: headers.Headers) -> bool:
    """Return True if a Range with this If-Range may be answered with a part of the ``stored`` answer."""
    if if_range.startswith(b'"'):
        return if_range == etag
    # A weak tag never holds, and a date only in its exact spelling and if it is a strong validator (§13.1.5).
    if headers.get(stored, b"last-modified") != if_range:
        return False
    modified, date = dates.parse(if_range), dates.parse(headers.get(stored, b"date") or b"")
    return modified is not None and date is not None and date - modified >= STRONG_SECONDS
