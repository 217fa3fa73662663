"""The meaning of a head's fields, settled before anything reads them.

Facts this file rests on. White space around a value is no part of it (RFC 9110 §5.5, RFC 9112 §5.1), and
not every server takes it off. Fields that Connection names end at this hop: whatever was decided by one of
them would be decided by a field that the upstream never sees (RFC 9110 §7.6.1). A sender may not name what
concerns every recipient; the framing, Host, Via and what proxies tell of the client stay, because a client
could take them away from whoever stands behind a proxy that passes its Connection on.
"""

from metaproxy.protocol.headers import Header, Headers, combined, list_members
from metaproxy.protocol.proxy_fields import is_told_by_proxies

BLANKS = b" \t"

_NEVER_NOMINATED = frozenset({b"content-length", b"host", b"transfer-encoding", b"via"})
_USUAL = frozenset({b"close", b"keep-alive", b"te", b"upgrade"})
"""Options for which nothing is to be done here: a field of that name ends at this hop anyway, or is none."""

_QUIET = frozenset({b"keep-alive", b"Keep-Alive", b"close", b""})
"""The value of Connection in nearly every head that has it."""


def settled(headers: list[Header]) -> list[Header]:
    """Return ``headers`` without blanks around values and without the fields that Connection names.

    The same list if there is nothing to do. A Connection that names fields is taken off with them.
    """
    for name, value in headers:
        if value.strip(BLANKS) != value or (name == b"connection" and value not in _QUIET):
            return _settled([(name, value.strip(BLANKS)) for name, value in headers])
    return headers


def _settled(headers: list[Header]) -> list[Header]:
    nominated = _nominated(headers)
    if not nominated:
        return headers
    return [header for header in headers if header[0] not in nominated]


def _nominated(headers: Headers) -> set[bytes]:
    connection = combined(headers, b"connection").lower()
    named = set(list_members(connection)) if connection else set()
    if named <= _USUAL:
        return set()
    taken = {name for name in named if name not in _NEVER_NOMINATED and not is_told_by_proxies(name)}
    return taken | {b"connection"}
