"""Header fields that an operator wants taken off, replaced or added, as data.

Facts this file rests on. Some fields say where a message ends or belong to one hop (RFC 9110 §7.6.1,
RFC 9112 §6), some say what the body is (RFC 9110 §8), some are what an upstream trusts. With those
an edit could smuggle a request or name another user, so they cannot be edited. A name of letters,
digits and hyphens alone is the same variable to no gateway as another field (RFC 3875 §4.1.18).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from metaproxy.protocol import forwarded, identity_headers
from metaproxy.protocol.headers import HOP_BY_HOP, Header
from metaproxy.protocol.headers import lines as lines_of

_MESSAGE = HOP_BY_HOP | {b"content-length", b"content-encoding", b"content-range", b"date", b"via"}
_WRITTEN_FOR_UPSTREAMS = forwarded.FIELDS | {b"expect", b"host", b"max-forwards", b"x-openstack-request-id"}

REQUEST_RESERVED: frozenset[bytes] = (
    _MESSAGE | _WRITTEN_FOR_UPSTREAMS | identity_headers.RESERVED | identity_headers.TOKEN_FIELDS
)
"""Fields of a request that are not edited: framing, this hop's, the token's, identity, where it came from."""

RESPONSE_RESERVED: frozenset[bytes] = _MESSAGE | {
    b"age",
    b"content-type",
    b"etag",
    b"vary",
    b"www-authenticate",
    b"x-compute-request-id",
}
"""Fields of an answer that are not edited: framing, this hop's, what caches and clients go by."""

CORS_PREFIX = b"access-control-"
"""These are the section cors's; one more of them from elsewhere would undo what it decides."""

_NAME = re.compile(r"[A-Za-z0-9-]+")
_VALUE = re.compile(r"[!-~](?:[ \t!-~]*[!-~])?")


def name_problem(name: str, reserved: frozenset[bytes]) -> str | None:
    """Say in words why the field ``name`` may not be edited; None where it may."""
    if not _NAME.fullmatch(name):
        return "a field's name has letters, digits and hyphens alone"
    lowered = name.lower().encode("ascii")
    if lowered in reserved:
        return f"{name} is not to be edited: it is metaproxy's own, identity's or the connection's"
    if lowered.startswith(CORS_PREFIX):
        return f"{name} is written by the section cors"
    return None


def is_value(text: str) -> bool:
    """Say whether ``text`` can be a field's value (RFC 9110 §5.5): visible ASCII, blanks only inside."""
    return _VALUE.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class HeaderEdits:
    """Edits of the fields of a message: removals first, then additions. Names are lower-case."""

    removed: frozenset[bytes] = frozenset()
    added: tuple[Header, ...] = field(default=(), repr=False)
    """Not in the repr: a value may be a secret that the upstream knows the proxy by."""
    added_lines: bytes = field(init=False, repr=False, compare=False)
    """``added`` as header lines."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "added_lines", lines_of(self.added))

    def __bool__(self) -> bool:
        """Say whether there is anything to do."""
        return bool(self.removed or self.added)

    def then(self, later: "HeaderEdits") -> "HeaderEdits":
        """Return edits that do what these do, followed by ``later``."""
        return _combined(self, later)

    def apply(self, fields: Iterable[Header]) -> list[Header]:
        """Return ``fields`` after the edits; what stays keeps its order."""
        return [*(pair for pair in fields if pair[0] not in self.removed), *self.added]

    def apply_to_lines(self, lines: bytes) -> bytes:
        """Return ``lines``, complete header lines with names in lower case, after the edits."""
        return self.kept_lines(lines) + self.added_lines

    def kept_lines(self, lines: bytes) -> bytes:
        """Return those of ``lines``, complete header lines, that the edits leave."""
        if not self.removed:
            return lines
        kept = [line for line in lines.split(b"\r\n") if line.partition(b":")[0] not in self.removed]
        return b"\r\n".join(kept)


@lru_cache(maxsize=1024)
def _combined(first: HeaderEdits, later: HeaderEdits) -> HeaderEdits:
    """Return the same object for the same edits, so that what was edited with it is recognised."""
    kept = tuple(header for header in first.added if header[0] not in later.removed)
    return HeaderEdits(first.removed | later.removed, (*kept, *later.added))


def header_edits(
    *,
    remove: Iterable[str] = (),
    replace: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    add: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    reserved: frozenset[bytes],
) -> HeaderEdits:
    """Return the edits in the form in which they are applied; raises ValueError for what is not to be edited.

    ``replace`` takes every field of the name off first, ``add`` leaves those that are there.
    """
    replaced, added = _pairs(replace), _pairs(add)
    names = [*remove, *(name for name, _ in (*replaced, *added))]
    for name in names:
        if problem := name_problem(name, reserved):
            raise ValueError(problem)
    for name, value in (*replaced, *added):
        if not is_value(value):
            raise ValueError(f"the value of {name} is not visible ASCII")
    return HeaderEdits(
        removed=frozenset(_lower(name) for name in (*remove, *(name for name, _ in replaced))),
        added=tuple((_lower(name), value.encode("ascii")) for name, value in (*replaced, *added)),
    )


def _pairs(fields: Mapping[str, str] | Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return list(fields.items() if isinstance(fields, Mapping) else fields)


def _lower(name: str) -> bytes:
    return name.lower().encode("ascii")
