"""Byte ranges answered from a whole stored answer (RFC 9110 §14, RFC 9111 §3.3).

A single range of a stored 200 is cut from it. Several ranges, other units and what is malformed are
answered with the whole, which is always allowed (§14.2). If-Range wants a strong match (§13.1.5).
"""

import re
from dataclasses import dataclass

from metaproxy.protocol.caching import dates

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


def if_range_holds(if_range: bytes, etag: bytes, last_modified: bytes | None) -> bool:
    """Return True if a Range with this If-Range may be answered with a part of the stored answer."""
    if if_range.startswith(b'"'):
        return if_range == etag
    # A date is a strong validator only in its exact spelling; a weak tag never is (§13.1.5).
    return last_modified is not None and if_range == last_modified and dates.parse(if_range) is not None
