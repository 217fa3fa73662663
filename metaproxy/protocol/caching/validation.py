"""Validation: asking the origin whether a stored answer still holds, and being asked (RFC 9111 §4.3).

Facts this file rests on. A cache asks with If-None-Match where it has an ETag and with
If-Modified-Since where it has a Last-Modified (§4.3.1). If-None-Match goes before If-Modified-Since
and compares weakly (RFC 9110 §13.1.2, §13.1.3). An entity tag is an opaque string in quotes, and may hold
commas (RFC 9110 §8.8.3). If-Match and If-Unmodified-Since are not for caches (§4.3.2). A 304 updates the
stored fields, save those that describe the stored content (§3.2). If an origin has no ETag, a strong one
can be made here: the same bytes of the same type have the same.
"""

import re
from collections.abc import Iterator
from hashlib import blake2b

from metaproxy.protocol import headers
from metaproxy.protocol.caching import dates, validators
from metaproxy.protocol.caching.storing import NOT_STORED_FIELDS

CONDITIONAL = frozenset({b"if-none-match", b"if-modified-since"})
"""The conditions that a cache may answer from a stored answer."""

CONDITIONS = CONDITIONAL | {b"if-range"}
"""With one of these, a client has what a 304 may speak of. Some servers take If-Range for If-None-Match."""

NOT_FOR_CACHES = frozenset({b"if-match", b"if-unmodified-since"})

NOT_FOR_THE_WHOLE = CONDITIONAL | {b"range", b"if-range"}
"""With one of these, the answer to a GET may be less than the whole."""

OF_THE_BYTES = frozenset({b"content-length", b"content-range", b"content-digest", b"content-md5"})
"""Fields of the bytes of one message: a part has others than the whole (RFC 9110 §14.4, RFC 9530 §2)."""

CONTENT_FIELDS = OF_THE_BYTES | {b"content-encoding", b"content-type"}
"""Fields of the stored bytes: not updated by a 304 (§3.2), not sent with one (RFC 9110 §15.4.5)."""


def strong_etag(body: bytes, content_type: bytes) -> bytes:
    """Return a strong entity tag for ``body``: its hash, and that of its media type."""
    return b'"%s"' % blake2b(body, digest_size=16, key=content_type[:64]).hexdigest().encode()


def conditions(stored: headers.Headers) -> list[headers.Header]:
    """Return the fields that ask the origin whether a stored answer still holds (§4.3.1)."""
    etag, modified = validators.entity_tag(stored), validators.last_modified(stored)
    asked = [(b"if-none-match", etag)] if etag is not None else []
    if modified is not None and dates.parse(modified) is not None:
        asked.append((b"if-modified-since", modified))
    return asked


def not_modified(request: headers.Headers, *, etag: bytes, last_modified: float | None) -> bool:
    """Return True if a stored 200 with these validators makes the answer to ``request`` a 304 (§4.3.2).

    ``last_modified`` is in seconds since the epoch: of the answer's Last-Modified, or of its Date
    where it has none (RFC 9110 §13.1.3).
    """
    if_none_match = headers.get_all(request, b"if-none-match")
    if if_none_match:
        return _matches(b", ".join(if_none_match), etag)
    since = headers.get_all(request, b"if-modified-since")
    if len(since) != 1 or last_modified is None:
        return False
    moment = dates.parse(since[0])
    return moment is not None and last_modified <= moment


def confirms(stored: headers.Headers, answer: headers.Headers) -> bool:
    """Return True if a 304 speaks of the stored answer: what it says of validators must agree (§4.3.4)."""
    new_tag, stored_tag = validators.entity_tag(answer), validators.entity_tag(stored)
    if new_tag is not None and stored_tag is not None:
        return _opaque(new_tag) == _opaque(stored_tag)
    modified = validators.last_modified(answer)
    return new_tag is None and modified in (None, validators.last_modified(stored))


def updated(stored: headers.Headers, answer: headers.Headers) -> list[headers.Header]:
    """Return the stored fields as a 304 updates them (§3.2): each field it has replaces all of its name."""
    kept_out = CONTENT_FIELDS | NOT_STORED_FIELDS
    newer = [
        field for field in headers.end_to_end(validators.without_invalid(answer)) if field[0] not in kept_out
    ]
    replaced = {name for name, _ in newer}
    return [field for field in stored if field[0] not in replaced] + newer


def not_modified_fields(stored: headers.Headers) -> list[headers.Header]:
    """Return the fields of a 304 for a stored answer (RFC 9110 §15.4.5)."""
    return [field for field in stored if field[0] not in CONTENT_FIELDS]


def may_be_not_modified(method: str, request: headers.Headers) -> bool:
    """Return True if a 304 may answer a request with these fields.

    It answers conditional GET and HEAD (RFC 9110 §15.4.5). Its meaning for another method is not defined.
    It is left to the client then, because what that method has done cannot be undone.
    """
    return method not in ("GET", "HEAD") or any(name in CONDITIONS for name, _ in request)


def without_conditions(request: headers.Headers) -> list[headers.Header]:
    """Return the fields of a request that asks for the whole answer, whatever the client has or wants."""
    return [field for field in request if field[0] not in NOT_FOR_THE_WHOLE]


_TAG = re.compile(rb'[ \t,]*((?:W/)?"[^"]*")[ \t]*(?=,|\Z)')


def _matches(if_none_match: bytes, etag: bytes) -> bool:
    """Weak comparison with each member (RFC 9110 §8.8.3.2); ``*`` matches whatever is stored.

    An origin that forgets the quotes gets its tag back without quotes: such a tag matches only the whole
    field, because nothing says where in a list it would end.
    """
    asked = if_none_match.strip(b" \t")
    if asked in (b"*", etag):
        return True
    wanted = _opaque(etag)
    return wanted.startswith(b'"') and wanted in map(_opaque, _tags(asked))


def _tags(field_value: bytes) -> Iterator[bytes]:
    """Yield the entity tags of a list, up to the first member that is not a tag."""
    position = 0
    while found := _TAG.match(field_value, position):
        yield found[1]
        position = found.end()


def _opaque(etag: bytes) -> bytes:
    return etag.removeprefix(b"W/")
