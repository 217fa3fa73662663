"""The answers that a stored answer gives: the whole, its head, a part, or that nothing has changed.

Only a stored 200 is cut or compared: conditions and ranges are about the content of a success
(RFC 9110 §13.2.1, §14.2). Conditions go before ranges (§13.2.2).
"""

from dataclasses import replace

from metaproxy.cache.incomplete import Incomplete
from metaproxy.cache.requests import CacheRequest
from metaproxy.cache.stored import Hit, Stored
from metaproxy.protocol.caching import parts, ranges, reuse, validation
from metaproxy.protocol.caching.reuse import Fresh, MustValidate


def special_answer(stored: Stored, request: CacheRequest, method: str, now: float, cache: str) -> Hit | None:
    """Return what a request gets that may ask for more than a plain read does.

    None where the origin must be asked. A stale answer says so: ``Hit.revalidate``.
    """
    verdict = reuse.assess(stored.terms, stored.age(now), request.directives)
    if isinstance(verdict, MustValidate):
        return None
    hit = answer(stored, request, method, now, cache)
    return hit if isinstance(verdict, Fresh) else replace(hit, revalidate=verdict.revalidate)


def answer(stored: Stored, request: CacheRequest, method: str, now: float, cache: str) -> Hit:
    """Return what ``request`` gets of ``stored`` at the monotonic time ``now``."""
    if not request.plain and stored.status == 200:
        if request.conditional and _not_modified(stored, request):
            fields = validation.not_modified_fields(stored.sent_fields)
            return stored.answer(now, cache, 304, fields, b"", length=-1)
        if request.range is not None and method == "GET" and _range_applies(stored, request):
            return _part(stored, request.range, now, cache)
    hit = stored.hit(now, cache)
    return replace(hit, body=b"") if method == "HEAD" else hit


def part_answer(stored: Incomplete, request: CacheRequest, now: float, cache: str) -> Hit | None:
    """Return the part that ``request`` asks for, if it is stored and fresh; else the origin must be asked."""
    if request.range is None or request.conditional:
        return None
    head = stored.head
    if not isinstance(reuse.assess(head.terms, head.age(now), request.directives), Fresh):
        return None
    if request.fields.get(b"if-range", stored.tag) != stored.tag:
        return None
    part = ranges.select(request.range, stored.length)
    body = parts.cut(stored.segments, part) if isinstance(part, ranges.Part) else None
    if body is None or not isinstance(part, ranges.Part):
        return None
    fields = [*head.sent_fields, (b"content-range", part.content_range())]
    return head.answer(now, cache, 206, fields, body)


def _not_modified(stored: Stored, request: CacheRequest) -> bool:
    return validation.not_modified(
        tuple(request.fields.items()), etag=stored.etag, last_modified=stored.last_modified
    )


def _range_applies(stored: Stored, request: CacheRequest) -> bool:
    if_range = request.fields.get(b"if-range")
    return if_range is None or ranges.if_range_holds(if_range, stored.etag, stored.fields)


def _part(stored: Stored, range_value: bytes, now: float, cache: str) -> Hit:
    match ranges.select(range_value, len(stored.body)):
        case ranges.Part() as part:
            # Content-Range of a stored 200 means nothing (RFC 9110 §14.4), and a digest is that of the whole.
            fields = [field for field in stored.sent_fields if field[0] not in validation.OF_THE_BYTES]
            fields.append((b"content-range", part.content_range()))
            body = stored.body[part.first : part.last + 1]
            return stored.answer(now, cache, 206, fields, body)
        case ranges.Unsatisfiable() as unsatisfiable:
            fields = validation.not_modified_fields(stored.sent_fields)
            fields.append((b"content-range", unsatisfiable.content_range()))
            return stored.answer(now, cache, 416, fields, b"")
        case _:
            return stored.hit(now, cache)
