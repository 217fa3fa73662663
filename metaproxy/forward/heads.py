"""What of a head goes through, and what a proxy adds.

Facts this file rests on. Fields that Connection names end at this hop, but a client must not be able
to take away what the line has added, or the framing (RFC 9110 §7.6.1). Via and Forwarded are lists
to which every hop appends (RFC 9110 §7.6.3, RFC 7239 §4); the guard has taken off what nobody vouches
for. The expectation of 100-continue is met by our server (RFC 9110 §10.1.1). Host comes first (§7.2).
"""

from collections.abc import Iterator
from typing import Literal, TypeAlias
from urllib.parse import quote

import httpx
from starlette.types import Scope

from metaproxy.exchange import Exchange
from metaproxy.protocol import identity_headers
from metaproxy.protocol.headers import HOP_BY_HOP, Header, Headers, combined, end_to_end, get, list_members

HostHeader: TypeAlias = Literal["preserve", "upstream"]

_REQUEST_ID = b"x-openstack-request-id"
_UPSTREAM_REQUEST_IDS = (b"x-compute-request-id", _REQUEST_ID)

_WRITTEN_HERE = frozenset(
    {
        b"expect",
        b"forwarded",
        b"host",
        b"via",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-proto",
        _REQUEST_ID,
    }
)
_TOKENS = {identity_headers.TOKEN, identity_headers.STORAGE_TOKEN, identity_headers.SERVICE_TOKEN}
_NEVER_NOMINATED = identity_headers.RESERVED | _TOKENS | {b"content-length"}
_NOT_PASSED = HOP_BY_HOP | _WRITTEN_HERE


class RequestHeads:
    """Makes the head of the upstream's request from that of the client's.

    Args:
        via: our element of Via.
        host_header: ``preserve`` sends the client's Host, ``upstream`` the target's.
        strip_prefix: path prefix that is taken off.
    """

    def __init__(self, *, via: bytes, host_header: HostHeader = "preserve", strip_prefix: str = "") -> None:
        self._via = via
        self._preserves_host = host_header == "preserve"
        self._prefix = strip_prefix.rstrip("/").encode("ascii")

    def target(self, scope: Scope) -> bytes:
        """Return path and query as the client wrote them, byte for byte, without the prefix."""
        path: bytes = scope.get("raw_path") or quote(scope["path"]).encode("ascii")
        if self._prefix and path.startswith(self._prefix):
            rest = path[len(self._prefix) :]
            if not rest or rest.startswith(b"/"):
                path = rest or b"/"
        query: bytes = scope.get("query_string", b"")
        return path + b"?" + query if query else path

    def fields(self, exchange: Exchange, scope: Scope, authority: bytes) -> list[Header]:
        """Return the header fields for the target whose own name is ``authority``."""
        received: Headers = scope["headers"]
        received_host = get(received, b"host")
        host = (self._preserves_host and received_host) or authority
        dropped = _NOT_PASSED | _nominated(received)
        fields = [(b"host", host)]
        fields += [field for field in received if field[0] not in dropped]
        if has_chunked_body(received):
            fields.append((b"transfer-encoding", b"chunked"))
        fields.append((b"via", _appended(received, b"via", self._via)))
        fields += _forwarded(exchange, scope, received, received_host)
        request_id = exchange.global_request_id or exchange.request_id
        fields.append((_REQUEST_ID, request_id.encode("ascii")))
        return fields


def has_chunked_body(received: Headers) -> bool:
    """Say whether a request's body comes in chunks; the guard lets no other coding through."""
    return any(name == b"transfer-encoding" for name, _ in received)


def has_body(received: Headers) -> bool:
    """Say whether a request has a body (RFC 9112 §6.3)."""
    length = get(received, b"content-length")
    return has_chunked_body(received) if length is None else length != b"0"


def response_fields(response: httpx.Response, *, has_no_body: bool) -> list[Header]:
    """Return the end-to-end fields of ``response``, names in lower case as ASGI wants them.

    204 and 304 lose Content-Length: on 204 it is an error (RFC 9110 §8.6), on 304 servers take it for
    the length of a body that never comes.
    """
    fields = end_to_end([(name.lower(), value) for name, value in response.headers.raw])
    if has_no_body:
        return [field for field in fields if field[0] != b"content-length"]
    return fields


def upstream_request_id(fields: Headers) -> str:
    """Return the id that the upstream gave the request, or ""."""
    for name in _UPSTREAM_REQUEST_IDS:
        if (found := get(fields, name)) is not None:
            return found.decode("latin-1")
    return ""


def _nominated(received: Headers) -> frozenset[bytes]:
    options = combined(received, b"connection").lower()
    return frozenset(list_members(options)) - _NEVER_NOMINATED if options else frozenset()


def _appended(received: Headers, name: bytes, element: bytes) -> bytes:
    before = combined(received, name)
    return before + b", " + element if before else element


def _forwarded(exchange: Exchange, scope: Scope, received: Headers, host: bytes | None) -> Iterator[Header]:
    """Yield Forwarded and its older kin, told of the peer that has connected to us."""
    peer = scope.get("client")
    address = peer[0] if peer else ""
    if address or get(received, b"x-forwarded-for"):
        addresses = (
            _appended(received, b"x-forwarded-for", address.encode())
            if address
            else combined(received, b"x-forwarded-for")
        )
        yield b"x-forwarded-for", addresses
    yield b"x-forwarded-proto", exchange.scheme.encode()
    forwarded_host = get(received, b"x-forwarded-host") or host
    if forwarded_host:
        yield b"x-forwarded-host", forwarded_host
    yield (
        b"forwarded",
        _appended(received, b"forwarded", _element(address, scope.get("scheme", "http"), host)),
    )


def _element(address: str, scheme: str, host: bytes | None) -> bytes:
    """Our element of Forwarded (RFC 7239 §4, §6)."""
    node = f'"[{address}]"' if ":" in address else address or "unknown"
    element = f"for={node};proto={scheme}".encode()
    if host:
        quoted = host.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
        element += b';host="%b"' % quoted
    return element
