"""An identity as bytes, for replicas that share it.

Facts this file rests on. Everything that identity said is written, access rules above all: None sets no
rules, and an empty list allows nothing. A reader takes all fields or none, each of its own type, so that
an omission can never widen what a token may do. The digest of the token and the renderer belong to one
process, and are not written. ``VERSION`` stands for the fields in their order. Raise it when they change.
"""

from dataclasses import fields
from typing import Any, get_type_hints

import msgspec

from metaproxy.exchange import Assignment, Identity

VERSION = 1
"""The number of this form."""

_OF_ONE_PROCESS = ("token_digest", "renderer")
_ROLES = tuple[Assignment, ...]
_TYPES = get_type_hints(Identity) | {
    "assignments": _ROLES | None,
    "impersonator_assignments": _ROLES,
}
NAMES = tuple(each.name for each in fields(Identity) if each.name not in _OF_ONE_PROCESS)
"""The fields that are written, in their order."""

_Written = msgspec.defstruct(
    "_Written",
    [(name, _TYPES[name]) for name in NAMES],
    array_like=True,
    frozen=True,
    forbid_unknown_fields=True,
)


def written(identity: Identity) -> msgspec.Struct:
    """Return ``identity`` as a value that can be encoded."""
    said: dict[str, Any] = {name: getattr(identity, name) for name in NAMES}
    # Values that identities share in memory may be of types of their own.
    said["extra"] = dict(identity.extra)
    said["impersonator_assignments"] = tuple(identity.impersonator_assignments)
    said["assignments"] = None if identity.assignments is None else tuple(identity.assignments)
    return _Written(**said)


def encode(identity: Identity) -> bytes:
    """Return ``identity`` as bytes; raises ValueError for text that has no bytes."""
    return msgspec.msgpack.encode(written(identity))


def decode(content: bytes) -> Identity:
    """Return the identity that ``content`` writes; raises ValueError."""
    try:
        decoded = msgspec.msgpack.decode(content, type=_Written)
    except msgspec.DecodeError as error:
        raise ValueError("not an identity") from error
    return Identity(**{name: getattr(decoded, name) for name in NAMES})
