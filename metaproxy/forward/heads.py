"""Heads: the fields that go through, and those that a proxy adds.

Facts this file rests on. Fields that Connection names end at this hop, but a client must not be able
to take away what the line has added, or the framing (RFC 9110 §7.6.1). Via and Forwarded are lists
to which every hop appends (RFC 9110 §7.6.3, RFC 7239 §4); the guard has taken off what nobody vouches
for. The expectation of 100-continue is met by our server (RFC 9110 §10.1.1). Host comes first (§7.2).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, TypeAlias
from urllib.parse import quote

import httpx
from starlette.types import Scope

from metaproxy.exchange import EMPTY_QUERY, SCOPE_KEY, Exchange
from metaproxy.forward.client import NO_BODY
from metaproxy.forward.engine.parser import ResponseHead
from metaproxy.forward.engine.request import OutgoingRequest, message, request_line
from metaproxy.protocol import forwarded, identity_headers
from metaproxy.protocol.headers import HOP_BY_HOP, Header, Headers, combined, end_to_end, get, list_members
from metaproxy.protocol.mount import NOT_MOUNTED, Mount

HostHeader: TypeAlias = Literal["preserve", "upstream"]

BODILESS = frozenset({204, 304})
"""Answers that have no body, whatever their fields say (RFC 9112 §6.3)."""

MOST_FORWARDS = 999_999_999
"""The greatest Max-Forwards that is passed on."""

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
_HOST = re.compile(rb"(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_NEVER_NOMINATED = identity_headers.RESERVED | _TOKENS | {b"content-length"}
_NOT_PASSED = HOP_BY_HOP | _WRITTEN_HERE


class RequestHeads:
    """Makes the head of the upstream's request from that of the client's.

    Args:
        via: our element of Via; its version of HTTP becomes that of the request (RFC 9110 §7.6.3).
        host_header: ``preserve`` sends the client's Host, ``upstream`` the target's.
        mount: path prefix that is taken off, unless that has been done before.
    """

    def __init__(
        self, *, via: bytes, host_header: HostHeader = "preserve", mount: Mount = NOT_MOUNTED
    ) -> None:
        self._via = via
        self.preserves_host = host_header == "preserve"
        self._mount = mount

    def target(self, scope: Scope) -> bytes:
        """Return path and query as the client wrote them, byte for byte, without the prefix."""
        path: bytes = scope.get("raw_path") or quote(scope["path"]).encode("ascii")
        if self._mount and (taken := self._mount.taken_off(path)):
            exchange = scope.get(SCOPE_KEY)
            if exchange is None or not exchange.mount:
                path = taken[1]
        query: bytes = scope.get("query_string", b"")
        return path + b"?" + query if query or EMPTY_QUERY in scope else path

    def request_line(self, scope: Scope) -> bytes:
        """Return the first line of a request; raises httpx.TransportError."""
        return request_line(scope["method"], self.target(scope))

    def message(
        self, exchange: Exchange, scope: Scope, authority: bytes, body: httpx.AsyncByteStream = NO_BODY
    ) -> OutgoingRequest:
        """Return a request for the target whose own name is ``authority``; raises httpx.TransportError."""
        return message(scope["method"], self.target(scope), self.fields(exchange, scope, authority), body)

    def links(self, exchange: Exchange, scope: Scope, fields: list[Header]) -> list[Header]:
        """Return the fields of an answer; links to the client's host have the prefix that was taken off."""
        return self._mount.links(fields, get(scope["headers"], b"host")) if exchange.mount else fields

    def fields(self, exchange: Exchange, scope: Scope, authority: bytes) -> list[Header]:
        """Return the header fields for the target whose own name is ``authority``."""
        received: Headers = scope["headers"]
        names = {name for name, _ in received}
        received_host = get(received, b"host") if b"host" in names else None
        fields = [(b"host", (self.preserves_host and received_host) or authority)]
        fields += _passed(received, names)
        if b"max-forwards" in names and scope["method"] == "OPTIONS":
            fields = [_one_hop_less(field) for field in fields]
        if b"transfer-encoding" in names:
            fields.append((b"transfer-encoding", b"chunked"))
        via = b"1.0" + self._via[3:] if scope.get("http_version") == "1.0" else self._via
        fields.append((b"via", _appended(received, names, b"via", via)))
        fields += _forwarded(exchange, scope, names, received_host)
        request_id = exchange.global_request_id or exchange.request_id
        fields.append((_REQUEST_ID, request_id.encode("ascii")))
        return fields


def has_body(received: Headers) -> bool:
    """Say whether a request has a body (RFC 9112 §6.3); the guard lets no coding but chunked through."""
    for name, value in received:
        if name == b"transfer-encoding":
            return True
        if name == b"content-length":
            return value != b"0"
    return False


def response_fields(head: ResponseHead) -> list[Header]:
    """Return the end-to-end fields of a response.

    204 and 304 lose Content-Length: on 204 it is an error (RFC 9110 §8.6), on 304 servers take it for
    the length of a body that never comes.
    """
    fields = head.headers if HOP_BY_HOP.isdisjoint(head.values) else end_to_end(head.headers)
    if head.status in BODILESS:
        return [field for field in fields if field[0] != b"content-length"]
    return fields


def upstream_request_id(fields: Mapping[bytes, bytes]) -> str:
    """Return the id that the upstream gave the request, or ""; ``fields`` are those of its answer."""
    for name in _UPSTREAM_REQUEST_IDS:
        if (found := fields.get(name)) is not None:
            return found.decode("latin-1")
    return ""


def _passed(received: Headers, names: set[bytes]) -> Headers:
    if names.isdisjoint(_NOT_PASSED):
        return received
    dropped = _NOT_PASSED
    if b"connection" in names:
        options = combined(received, b"connection").lower()
        dropped |= frozenset(list_members(options)) - _NEVER_NOMINATED
    return [field for field in received if field[0] not in dropped]


def _one_hop_less(field: Header) -> Header:
    """Return ``field``, a Max-Forwards with one hop less (RFC 9110 §7.6.2). The guard has refused zero."""
    name, value = field
    if name != b"max-forwards" or not value.isdigit():
        return field
    hops = value.lstrip(b"0")
    return name, b"%d" % (int(hops) - 1 if 0 < len(hops) < 10 else MOST_FORWARDS)


def _appended(received: Headers, names: set[bytes], name: bytes, element: bytes) -> bytes:
    return combined(received, name) + b", " + element if name in names else element


def _forwarded(exchange: Exchange, scope: Scope, names: set[bytes], host: bytes | None) -> list[Header]:
    """Return Forwarded and its older kin: what came of them, and the peer that has connected to us.

    The guard leaves one of the two families. The other says what is believed of it (RFC 7239 §7.4): of the
    client's own element, with scheme and host, many frameworks make their links.
    """
    received: Headers = scope["headers"]
    peer = scope.get("client")
    address = peer[0] if peer else ""
    # An unreadable element could swallow ours: a quote without its fellow does not end in front of it.
    said = forwarded.readable(received) if b"forwarded" in names else []
    told, told_old = b", ".join([forwarded.written(pairs.items()) for pairs in said]), b""
    asked_host = get(received, b"x-forwarded-host")
    if b"x-forwarded-for" in names:
        told_old = combined(received, b"x-forwarded-for")
        told = told or _from_old(received, exchange, asked_host)
    elif said:
        told_old = _from_new(said, exchange.client_address)
    if told:
        told += b", " + _element(address, scope.get("scheme", "http"), host)
    else:
        # Ours is the client's element, then: what a proxy has said of it stands here, too.
        told = _element(address, exchange.scheme, asked_host or host)
    fields = [(b"x-forwarded-proto", exchange.scheme.encode()), (b"forwarded", told)]
    # X-Forwarded-For has no word for a peer without address, such as one on a unix socket.
    if addresses := b", ".join(filter(None, (told_old, address.encode()))):
        fields.append((b"x-forwarded-for", addresses))
    if forwarded_host := asked_host or _host_said(said, exchange.client_address) or host:
        fields.append((b"x-forwarded-host", forwarded_host))
    return fields


def _element(address: str, scheme: str, host: bytes | None) -> bytes:
    """Our element of Forwarded (RFC 7239 §4, §6)."""
    pairs = [(b"for", forwarded.node(address)), (b"proto", scheme.encode())]
    return forwarded.written([*pairs, (b"host", host)] if host else pairs)


def _from_old(received: Headers, exchange: Exchange, host: bytes | None) -> bytes:
    """Forwarded for what came as X-Forwarded-For: for the client that was found, and each proxy behind it.

    ``host`` is the one that the client has asked for, as a proxy says.
    """
    believed = _believed(forwarded.old_addresses(received), exchange.client_address)
    elements = [
        _element(address, exchange.scheme, None if number else host)
        for number, address in enumerate(believed)
    ]
    return b", ".join(elements)


def _host_said(said: Sequence[forwarded.Pairs], client: str) -> bytes | None:
    """Return the host that the client has asked for, as its element of Forwarded says."""
    addresses = [hop.address if (hop := forwarded.hop(pairs)) else "" for pairs in said]
    # An element without an address ends the chain. It is the last one then, and believed like its scheme.
    host = said[-len(_believed(addresses, client)) or -1].get(b"host") if said else None
    return host if host is not None and _HOST.fullmatch(host) else None


def _from_new(said: Iterable[forwarded.Pairs], client: str) -> bytes:
    """X-Forwarded-For for what came as Forwarded: the client that was found, and each proxy behind it."""
    hops = [forwarded.hop(pairs) for pairs in said]
    return ", ".join(_believed([hop.address if hop else "" for hop in hops], client)).encode()


def _believed(addresses: Sequence[str], client: str) -> Sequence[str]:
    """Return ``addresses`` from the client on: what stands in front of it proves nothing."""
    if client not in addresses:
        return ()
    return addresses[len(addresses) - 1 - addresses[::-1].index(client) :]
