"""Incomplete answers: which parts may be kept, combined and completed (RFC 9111 §3.3, §3.4).

Facts this file rests on. A part says with Content-Range which bytes of how many it has (RFC 9110 §14.4); one
that leaves the length of the whole open cannot be completed. Parts of several ranges have a Content-Range of
their own each, in the content: none in the head. Parts may be combined only if they have one strong validator
(RFC 9110 §15.3.7.3). Here that is an entity tag: a date is strong only under conditions that a gateway cannot
check (RFC 9110 §8.8.2.2). Parts of another content coding are parts of another representation.
"""

import re
from collections.abc import Sequence

from metaproxy.protocol import headers
from metaproxy.protocol.caching import reuse, validation, validators
from metaproxy.protocol.caching.ranges import Part

Segments = tuple[tuple[int, bytes], ...]
"""Bytes with the place of the first one; in order, with gaps between them."""

_CONTENT_RANGE = re.compile(rb"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})", re.IGNORECASE)
_OF_THE_REPRESENTATION = (b"content-type", b"content-encoding")


def part_of(fields: headers.Headers) -> Part | None:
    """Return which part an answer with these fields is; None if it does not say so clearly."""
    values = headers.get_all(fields, b"content-range")
    if has_many_ranges(fields):
        return None
    found = _CONTENT_RANGE.fullmatch(values[0]) if len(values) == 1 else None
    if found is None:
        return None
    part = Part(int(found[1]), int(found[2]), int(found[3]))
    length = headers.get(fields, b"content-length")
    is_valid = part.first <= part.last < part.length and length in (None, b"%d" % part.size)
    return part if is_valid else None


def has_many_ranges(fields: headers.Headers) -> bool:
    """Return True if the content of an answer is parts of another content, each with a head of its own."""
    media_type = headers.get(fields, b"content-type")
    return media_type is not None and media_type.lower().startswith(b"multipart/byteranges")


def strong_tag(fields: headers.Headers) -> bytes | None:
    """Return the strong entity tag among ``fields``; None without one."""
    tag = validators.entity_tag(fields)
    return tag if tag is not None and tag.startswith(b'"') else None


def combine(stored: headers.Headers, answer: headers.Headers) -> bool:
    """Return True if a part with the fields ``answer`` is of the same representation as ``stored`` parts."""
    if strong_tag(answer) is None or strong_tag(answer) != strong_tag(stored):
        return False
    # An answer to If-Range may leave out what its client has (RFC 9110 §15.3.7).
    return all(
        (now := headers.get(answer, name)) is None or now == headers.get(stored, name)
        for name in _OF_THE_REPRESENTATION
    )


def of_the_whole(fields: headers.Headers, stored: headers.Headers = ()) -> list[headers.Header]:
    """Return the fields of the whole: those of a part, and what it leaves out of those ``stored``.

    The fields that have chosen the stored parts still count, even if the part does not name them in Vary.
    """
    own = [field for field in fields if field[0] not in validation.OF_THE_BYTES]
    names = {name for name, _ in own}
    if b"vary" in names:
        before = reuse.names_in(headers.combined(stored, b"vary"))
        now = frozenset(reuse.names_in(headers.combined(own, b"vary")))
        own += [(b"vary", name) for name in before if name not in now]
    return [*own, *[field for field in stored if field[0] not in names]]


def cut(segments: Segments, part: Part) -> bytes | None:
    """Return the bytes of ``part``; None if they are not all there."""
    for first, body in segments:
        if first <= part.first and part.last < first + len(body):
            return body[part.first - first : part.last + 1 - first]
    return None


def merged(segments: Segments, first: int, body: bytes) -> Segments:
    """Return ``segments`` with ``body`` at ``first``. If both have bytes, the new ones count."""
    before, after = [], []
    end = first + len(body)
    for at, held in segments:
        if at + len(held) < first:
            before.append((at, held))
        elif at > end:
            after.append((at, held))
        else:
            body = held[: max(0, first - at)] + body + held[max(0, end - at) :]
            first = min(first, at)
            end = first + len(body)
    return (*before, (first, body), *after)


def missing(segments: Segments, length: int) -> Part | None:
    """Return the smallest part that has all the bytes that are missing; None if the whole is there."""
    first = len(segments[0][1]) if segments and segments[0][0] == 0 else 0
    last = length - 1
    if segments and segments[-1][0] + len(segments[-1][1]) == length:
        last = segments[-1][0] - 1
    return Part(first, last, length) if first <= last else None


def request_for(part: Part, tag: bytes, asked: Sequence[headers.Header]) -> list[headers.Header]:
    """Return the request ``asked`` as one for ``part``, if the content still has ``tag``."""
    last = b"" if part.last == part.length - 1 else b"%d" % part.last
    wanted = (b"range", b"bytes=%d-%b" % (part.first, last)), (b"if-range", tag)
    return [*validation.without_conditions(asked), *wanted]
