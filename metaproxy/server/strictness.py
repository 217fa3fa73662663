"""Which heads become requests: what the parser lets through and RFC 9112 does not is refused here.

Facts this file rests on. httptools refuses malformed fields, folded lines, bare CR and LF, and any doubt
about Content-Length. It lets pass: other versions of HTTP, no or several Host fields, a Host that is no
authority, an authority in the target that is not the Host's (§3.2), a fragment, transfer codings beside
chunked (§6.1), and chunked from HTTP/1.0, whose servers may not know it. It hands trailer fields over as if
they stood in the head, and bounds neither them nor chunk extensions (§7.1).
"""

import re
from collections.abc import Mapping
from typing import NoReturn

from metaproxy.memo import Memo
from metaproxy.protocol.faults import Fault
from metaproxy.protocol.headers import Header, Headers, combined, get_all, list_members

_AUTHORITY = re.compile(rb"(?:[A-Za-z0-9\-._~!$&'()*+=%]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)(/[^?#]*)?(\?[^#]*)?", re.IGNORECASE)
_DEFAULT_PORTS = {b"http:": b":80", b"https": b":443"}

_known_hosts: Memo[bytes, None] = Memo(max_size=256)

FREE_FRAMING_BYTES = 16384
"""The bound of a body's chunk sizes, extensions and trailers may take together, whatever the body's size …"""
FRAMING_BYTES_PER_BYTE = 16
"""… and for each byte of it: chunks of one byte take six, with a short extension a few more."""


def origin_form(target: bytes, version: str, headers: Headers, *, switches_protocol: bool) -> bytes:
    """Return the path and query that a request is about; raises Fault for a head that is refused.

    Args:
        target: the request target as it came.
        version: of HTTP: ``1.1``.
        headers: names in lower case.
        switches_protocol: whether the client wants to speak something else from here on, and nothing less.
    """
    if switches_protocol:
        raise _fault(501, "The protocol is not switched.", "upgrade_refused")
    fields = dict(headers)
    if version != "1.1":
        _check_old(version, fields)
    host = fields.get(b"host")
    if (host is None and version == "1.1") or (
        len(fields) != len(headers) and len(get_all(headers, b"host")) > 1
    ):
        raise _fault(400, "A request has one Host field.", "host_ambiguous")
    if host is not None and host not in _known_hosts:
        _check_host(host)
    if b"transfer-encoding" in fields:
        _check_codings(headers)
    if target.startswith(b"/") and b"#" not in target:
        return target
    return _from_absolute(target, host)


def with_host(target: bytes, headers: list[Header]) -> list[Header]:
    """Return the ``headers`` of a request that is taken, with a Host if ``target`` alone has the authority.

    RFC 9112 §3.2.2 wants the authority of an absolute form sent on; HTTP/1.0 needs no Host.
    """
    found = _ABSOLUTE.fullmatch(target)
    if found is None or any(name == b"host" for name, _ in headers):
        return headers
    return [(b"host", found[1]), *headers]


def is_offer(headers: Headers) -> bool:
    """Say whether the Upgrade of a request is an offer that a server may ignore (RFC 9110 §7.8).

    So is ``h2c``, which some clients send with the first request of each connection. A client that asks for a
    WebSocket has no use for another answer.
    """
    offered = [protocol.lower() for protocol in list_members(combined(headers, b"upgrade"))]
    return bool(offered) and not any(protocol.startswith(b"websocket") for protocol in offered)


def is_mostly_framing(framing_bytes: int, body_bytes: int) -> bool:
    """Say whether a body so far is hardly anything but chunk sizes, extensions and trailers."""
    return framing_bytes > FREE_FRAMING_BYTES + FRAMING_BYTES_PER_BYTE * body_bytes


def _check_old(version: str, fields: Mapping[bytes, bytes]) -> None:
    if version != "1.0":
        raise _fault(505, "The version of HTTP is not supported.", "version_unknown")
    if b"transfer-encoding" in fields:
        raise _fault(400, "HTTP/1.0 has no transfer codings.", "framing_ambiguous")


def _check_host(host: bytes) -> None:
    if not _AUTHORITY.fullmatch(host.strip(b" \t")):
        raise _fault(400, "The Host field is no host.", "host_invalid")
    _known_hosts.keep(host, None, len(host))


def _check_codings(headers: Headers) -> None:
    if [coding.strip(b" \t").lower() for coding in get_all(headers, b"transfer-encoding")] != [b"chunked"]:
        raise _fault(501, "The transfer coding is not known.", "transfer_coding_unknown")


def _from_absolute(target: bytes, host: bytes | None) -> bytes:
    """RFC 9112 §3.2.2: the authority of the target counts; one that is not the Host's is refused."""
    parts = _ABSOLUTE.fullmatch(target)
    if parts is None:
        _refuse_target()
    authority, path, query = parts.groups()
    if not _AUTHORITY.fullmatch(authority):
        _refuse_target()
    default = _DEFAULT_PORTS[target[:5].lower()]
    if host is not None and _without(default, authority) != _without(default, host.strip(b" \t")):
        raise _fault(400, "The target and the Host field disagree.", "host_ambiguous")
    return (path or b"/") + (query or b"")


def _without(port: bytes, authority: bytes) -> bytes:
    """Return ``authority`` in the form in which two of the same meaning are the same (RFC 9110 §4.2.3)."""
    return authority.lower().removesuffix(port).removesuffix(b":")


def _refuse_target() -> NoReturn:
    raise _fault(400, "The request's target is neither a path nor an http URL.", "target_invalid")


def _fault(status: int, message: str, reason: str) -> Fault:
    return Fault(status, message, reason=reason, close=True)
