"""A header section, as the client's and as the upstream's, kept for when the client sends the same one again.

Two things are new each time: the request's id, and the token, which is not kept. The place of
the token is kept: the same header section has it in the same place, counted from its end.
"""

from collections.abc import Sequence
from typing import NamedTuple

from metaproxy.forward.client import NO_BODY
from metaproxy.forward.engine.request import OutgoingRequest
from metaproxy.protocol.headers import Header


class RepeatedSection(NamedTuple):
    """A header section in pieces: between ``before`` and ``between`` stands the token, after it the id."""

    before: bytes
    between: bytes
    after: bytes
    token: slice

    def message(self, method: str, request_line: bytes, octets: bytes, request_id: str) -> OutgoingRequest:
        """Return the request for the upstream; ``octets`` end with the header section of the client's."""
        head = b"".join(
            (
                request_line,
                self.before,
                octets[self.token],
                self.between,
                request_id.encode("ascii"),
                self.after,
            )
        )
        return OutgoingRequest(method, head, 0, NO_BODY)


class RepeatedFields(NamedTuple):
    """The header fields of a request as the line knows them, without the token, whose field is ``name``."""

    before: Sequence[Header]
    name: bytes
    after: Sequence[Header]

    def with_token(self, token: bytes) -> list[Header]:
        """Return the fields; an empty ``token`` for a request without one."""
        return [*self.before, (self.name, token), *self.after] if token else [*self.before, *self.after]


def repeated_fields(fields: Sequence[Header], name: bytes) -> RepeatedFields:
    """Return ``fields`` without the value of ``name``, which stands there once or not at all."""
    at = next((at for at, field in enumerate(fields) if field[0] == name), len(fields))
    return RepeatedFields(tuple(fields[:at]), name, tuple(fields[at + 1 :]))


def repeated_section(
    message: OutgoingRequest, octets: bytes, *, token: bytes, request_id: str
) -> RepeatedSection | None:
    """Return the header section of ``message`` without what is new each time; None where that is not clear.

    ``octets`` is the client's request, ``token`` what it says about who asks, empty for nothing.
    """
    section = message.head.partition(b"\r\n")[2]
    before, has_id, after = section.partition(request_id.encode("ascii"))
    if not has_id or request_id.encode("ascii") in after:
        return None
    if not token:
        return RepeatedSection(before, b"", after, slice(0, 0))
    if octets.count(token) != 1 or before.count(token) != 1 or token in after:
        return None
    before, _, between = before.partition(token)
    start = octets.index(token) - len(octets)
    return RepeatedSection(before, between, after, slice(start, start + len(token) or None))
