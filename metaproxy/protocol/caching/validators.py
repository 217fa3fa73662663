"""Validators: the fields that tell the content of one answer from that of another (RFC 9110 §8.8).

Facts this file rests on. ETag and Last-Modified are not lists: an answer has one of each (§8.8.2, §8.8.3). If
two come, or one that another hop has made of two, nothing says which of them is that of the content. To ask
for both would let the origin confirm a content that is not stored. So such a field is ignored. Some origins
forget the quotes of a tag. Such a tag is taken as it is, if nothing in it could be a list.
"""

import re

from metaproxy.protocol import headers

_TAG = re.compile(rb'(?:W/)?"[^"]*"|[^",]+')


def entity_tag(fields: headers.Headers) -> bytes | None:
    """Return the entity tag among ``fields``; None if there is none, or not one alone."""
    values = [value for name, value in fields if name == b"etag"]
    return values[0] if len(values) == 1 and _TAG.fullmatch(values[0]) else None


def last_modified(fields: headers.Headers) -> bytes | None:
    """Return the value of Last-Modified; None if there is none, or not one alone."""
    values = headers.get_all(fields, b"last-modified")
    return values[0] if len(values) == 1 else None


def without_invalid(fields: headers.Headers) -> headers.Headers:
    """Return ``fields`` without validators that do not count."""
    found = [field for field in fields if field[0] in _READERS]
    invalid = [name for name, _ in found if _READERS[name](found) is None]
    return [field for field in fields if field[0] not in invalid] if invalid else fields


_READERS = {b"etag": entity_tag, b"last-modified": last_modified}
