"""Answers that take a stored answer out of service (RFC 9111 §4.3.3, §4.3.5).

Facts this file rests on. A full answer to a validation means that no stored one is suitable; only a server
error leaves the choice to the cache (§4.3.3). An answer to HEAD whose validators or length differ from the
stored ones makes those invalid (§4.3.5). The same holds for a part, which names its
validators and the length of the whole (RFC 9110 §14.4, §15.3.7). An answer that must not be stored leaves no
older one in service that says the opposite.
"""

import re

from metaproxy.protocol import headers
from metaproxy.protocol.caching import directives, validators

SAYS_NOTHING = frozenset({304, 405, 412})
"""Answers to HEAD or to a range that concern the method or a condition, not the content."""

VALIDATORS = (validators.entity_tag, validators.last_modified)

_CONTENT_RANGE = re.compile(rb"bytes (?:\*|[0-9-]+)/([0-9]{1,19})")


def is_final(status: int) -> bool:
    """Return True if an answer of ``status`` to a validation settles what becomes of the stored one.

    It replaces the stored one if it may be stored, and removes it if not.
    """
    return status < 500


def contradicts(
    status: int, fields: headers.Headers, *, stored: headers.Headers, stored_length: int, is_to_head: bool
) -> bool:
    """Return True if an answer to HEAD or to a range shows that a stored 200 must not be sent any more.

    ``stored`` and ``stored_length`` are the fields of the stored one and the length of its body.
    """
    if status in SAYS_NOTHING or not is_final(status):
        return False
    # A 416 says that no byte lies in the range (RFC 9110 §15.5.17): that may well be so of the stored one.
    if status != 416:
        said = directives.of_response(fields)
        if not 200 <= status < 300 or said.no_store or said.private:
            return True
    for validator in VALIDATORS:
        now, before = validator(fields), validator(stored)
        if now is not None and before is not None and now.removeprefix(b"W/") != before.removeprefix(b"W/"):
            return True
    if headers.get(fields, b"content-encoding") != headers.get(stored, b"content-encoding"):
        return False  # another representation: its length tells nothing of the stored one
    length = _whole_length(status, fields, is_to_head=is_to_head)
    return length is not None and length != stored_length


def _whole_length(status: int, fields: headers.Headers, *, is_to_head: bool) -> int | None:
    """The length of the whole content, as the answer says it; None if it does not."""
    if status in (206, 416):
        found = _CONTENT_RANGE.fullmatch(headers.get(fields, b"content-range") or b"")
        return int(found[1]) if found else None
    value = headers.get(fields, b"content-length")
    # Content-Length: 0 in an answer to HEAD is more often a server that forgets it than an empty content.
    if value is None or not value.isdigit() or len(value) > 19 or (is_to_head and value == b"0"):
        return None
    return int(value)
