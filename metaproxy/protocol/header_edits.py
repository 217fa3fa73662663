"""Header fields that an operator wants taken off, replaced or added, as data.

Facts this file rests on. Some fields say where a message ends or belong to one hop (RFC 9110 §7.6.1,
RFC 9112 §6), some say what the body is (RFC 9110 §8), some are what an upstream trusts. With those
an edit could smuggle a request or name another user, so they cannot be edited. A name of letters,
digits and hyphens alone is the same variable to no gateway as another field (RFC 3875 §4.1.18).
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Annotated

from pydantic import AfterValidator, SecretStr

from metaproxy.protocol import forwarded, identity_headers
from metaproxy.protocol.headers import HOP_BY_HOP, Header
from metaproxy.protocol.headers import lines as lines_of
from metaproxy.settings.section import Finding, Section
from metaproxy.settings.values import FieldName, Secret

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


def _value(text: str) -> str:
    if not is_value(text):
        raise ValueError("a field's value is visible ASCII; blanks stand only inside")
    return text


def _secret_value(secret: SecretStr) -> SecretStr:
    _value(secret.get_secret_value())
    return secret


class RequestField(Section):
    """A header field for the upstream."""

    name: FieldName
    """The field's name."""
    value: Annotated[Secret, AfterValidator(_secret_value)]
    """Its value; taken for a secret, so that no page or log shows it."""


class ResponseField(Section):
    """A header field for the client."""

    name: FieldName
    """The field's name."""
    value: Annotated[str, AfterValidator(_value)]
    """Its value."""


def _reserved(section: "RequestHeaders | ResponseHeaders", reserved: frozenset[bytes]) -> Iterator[Finding]:
    for index, name in enumerate(section.remove):
        if problem := name_problem(name, reserved):
            yield ("remove", index), problem
    for key in ("set", "add"):
        for index, edited in enumerate(getattr(section, key)):
            if problem := name_problem(edited.name, reserved):
                yield (key, index, "name"), problem


class RequestHeaders(Section):
    """Edits of the header fields of every request."""

    remove: tuple[FieldName, ...] = ()
    """Fields of the client that the upstream does not get."""
    set: tuple[RequestField, ...] = ()
    """Fields that the upstream gets in place of the client's of that name."""
    add: tuple[RequestField, ...] = ()
    """Fields that the upstream gets beside the client's of that name."""

    def findings(self) -> Iterator[Finding]:
        """Nothing that carries identity, tokens or framing."""
        return _reserved(self, REQUEST_RESERVED)


class ResponseHeaders(Section):
    """Edits of the header fields of every answer, refusals included."""

    remove: tuple[FieldName, ...] = ()
    """Fields that the client does not get."""
    set: tuple[ResponseField, ...] = ()
    """Fields that the client gets in place of any of that name."""
    add: tuple[ResponseField, ...] = ()
    """Fields that the client gets beside any of that name."""

    def findings(self) -> Iterator[Finding]:
        """Nothing that framing, caches and clients go by."""
        return _reserved(self, RESPONSE_RESERVED)


class HeaderSettings(Section):
    """Header fields that are taken off, replaced or added."""

    request: RequestHeaders = RequestHeaders()
    """Edits of the header fields of every request."""
    response: ResponseHeaders = ResponseHeaders()
    """Edits of the header fields of every answer, refusals included."""

    @property
    def is_on(self) -> bool:
        """True if anything is edited."""
        return self != HeaderSettings()


def header_edits(section: RequestHeaders | ResponseHeaders) -> HeaderEdits:
    """Return the edits that ``section`` describes, in the form in which they are applied."""
    replaced, added = ([_pair(edited) for edited in fields] for fields in (section.set, section.add))
    return HeaderEdits(
        removed=frozenset([_lower(name) for name in section.remove] + [name for name, _ in replaced]),
        added=(*replaced, *added),
    )


def _pair(edited: RequestField | ResponseField) -> Header:
    value = edited.value
    text = value if isinstance(value, str) else value.get_secret_value()
    return _lower(edited.name), text.encode("ascii")


def _lower(name: str) -> bytes:
    return name.lower().encode("ascii")
