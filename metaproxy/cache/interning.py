"""Header fields that many stored answers have in common, kept once.

Answers of one API differ in their bodies and hardly in their heads. A field's first owner is charged for
its bytes, the others for their references alone; so what is counted never falls behind what is held. The
table is bounded, and emptied when it is full: it holds what is frequent, whatever clients and origins send.
"""

from metaproxy.memo import Memo
from metaproxy.protocol import headers

MAX_FIELDS = 4096
LONGEST_FIELD = 192

FIELD_BYTES = 130
"""The bytes of a field beside its text: two bytes objects and their pair."""

_fields: Memo[headers.Header, headers.Header] = Memo(MAX_FIELDS, LONGEST_FIELD)


def shared_fields(fields: headers.Headers) -> tuple[tuple[headers.Header, ...], int]:
    """Return the same fields, those known already as the objects known, and the bytes of the others."""
    kept, new_bytes = [], 0
    for field in fields:
        known = _fields.get(field)
        if known is None:
            known = field
            new_bytes += len(field[0]) + len(field[1]) + FIELD_BYTES
            _fields.keep(field, field, len(field[0]) + len(field[1]))
        kept.append(known)
    return tuple(kept), new_bytes
