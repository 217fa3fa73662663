r"""The address of the client when trusted proxies are in front: Forwarded (RFC 7239) or X-Forwarded-*.

Facts this file rests on. Each proxy appends what it saw, so the fields are read from the right: as long as
the peer that wrote an element is trusted, the element is believed; the first address that is no trusted
proxy is the client. Whatever stands left of it was written by the client and proves nothing. Proxies write
one of the two families and pass the other on as the client wrote it, so one of them is believed, by name.

A value of Forwarded is a token or a quoted string, in which ``,`` and ``;`` separate nothing and ``\``
escapes (RFC 7239 §4, RFC 9110 §5.6.4). A parameter stands once in an element. A node is an address, an IPv6
address in brackets, ``unknown`` or an obfuscated identifier, with or without a port that may be obfuscated
too (§6). If quotes do not balance, two readers could see different elements: the rest of the line proves
nothing.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from metaproxy.protocol.addresses import Network, parse
from metaproxy.protocol.headers import Headers, combined, get_all, list_members

ForwardedHeader = Literal["x-forwarded", "forwarded"]
Unix = Literal["unix"]
UNIX: Unix = "unix"
"""Stands among trusted networks for peers on a unix socket, which have no address."""

Trusted = Sequence[Network | Unix]

FIELDS = frozenset(
    {
        b"forwarded",
        b"x-forwarded-for",
        b"x-forwarded-proto",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-prefix",
        b"x-forwarded-server",
        b"x-real-ip",
    }
)
"""Those that an operator's own edits may not write; ``proxy_fields`` has all that is believed of proxies."""

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"'
_IS_TOKEN = re.compile(_TOKEN)
_PAIR = re.compile(rb"(%b)=(?:(%b)|(%b))" % (_TOKEN, _TOKEN, _QUOTED))
_DELIMITER = re.compile(rb'"(?:[^"\\]|\\.)*"|[,"]', re.DOTALL)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_NODE = re.compile(
    r"(?:(?P<ipv4>[0-9.]+)|\[(?P<ipv6>[0-9A-Fa-f:.]+(?:%[^\]]*)?)\]|(?P<hidden>unknown|_[A-Za-z0-9._-]+))"
    r"(?::(?:[0-9]{1,5}|_[A-Za-z0-9._-]+))?",
    re.IGNORECASE,
)
_OLD_NODE = re.compile(r"\[([^\]]*)\](?::[0-9]{1,5})?|([0-9.]+):[0-9]{1,5}|(.*)", re.DOTALL)

Pairs = Mapping[bytes, bytes]
"""The parameters of one element, names in lower case."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The source of a request: the client's address and the scheme it used."""

    address: str
    scheme: str


@dataclass(frozen=True, slots=True)
class Hop:
    """One proxy's statement about its peer: the canonical address, "" if that is hidden, and the scheme."""

    address: str
    scheme: str


def is_trusted(address: str, trusted: Trusted, *, is_unix: bool = False) -> bool:
    """Say whether ``address`` lies in one of the networks ``trusted``; no address never does.

    ``is_unix`` says that it is a peer on a unix socket, which is trusted by its name.
    """
    if is_unix:
        return UNIX in trusted
    parsed = parse(address)
    return parsed is not None and any(parsed in network for network in trusted if network != UNIX)


def origin(
    headers: Headers,
    peer: str,
    scheme: str,
    trusted: Trusted,
    believed: ForwardedHeader = "x-forwarded",
) -> Origin:
    """Return the origin of a request that the trusted ``peer`` passed on, as the ``believed`` family says."""
    if believed == "forwarded":
        return _followed(hops(headers), peer, scheme, trusted)
    addresses = old_addresses(headers)
    schemes = list(list_members(combined(headers, b"x-forwarded-proto")))
    said = _text(schemes[-1]).lower() if schemes else ""
    return _followed([Hop(a, said) for a in addresses] or [Hop("", said)], peer, scheme, trusted)


def hops(headers: Headers) -> list[Hop | None]:
    """Return what Forwarded says of each hop, the client's first; None for an element that proves nothing."""
    return [hop(pairs) for line in get_all(headers, b"forwarded") for pairs in elements(line)]


def readable(headers: Headers) -> list[Pairs]:
    """Return the elements of Forwarded that follow the last one which proves nothing."""
    found: list[Pairs] = []
    for line in get_all(headers, b"forwarded"):
        for pairs in elements(line):
            if pairs is None or hop(pairs) is None:
                found.clear()
            else:
                found.append(pairs)
    return found


def old_addresses(headers: Headers) -> list[str]:
    """Return the canonical addresses of X-Forwarded-For, "" for a member that is none."""
    return [_old_address(_text(m)) for m in list_members(combined(headers, b"x-forwarded-for"))]


def elements(field_value: bytes) -> list[Pairs | None]:
    """Return the elements of one Forwarded line, each with its parameters; None for one that is unreadable.

    Empty elements are left out. All that follows a quote without its fellow is one unreadable element.
    """
    found: list[Pairs | None] = []
    begin = 0
    for delimiter in _DELIMITER.finditer(field_value):
        if delimiter[0] == b'"':
            return [*found, None]
        if delimiter[0] == b",":
            found += _element(field_value[begin : delimiter.start()])
            begin = delimiter.end()
    return found + _element(field_value[begin:])


def written(pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return one element of Forwarded with these parameters: values that are no tokens are quoted."""
    return b";".join([b"%b=%b" % (name, _value(value)) for name, value in pairs])


def node(address: str) -> bytes:
    """Return the node that names ``address``; ``unknown`` where there is none (RFC 7239 §6)."""
    return f"[{address}]".encode() if ":" in address else address.encode() or b"unknown"


def _followed(chain: Sequence[Hop | None], peer: str, scheme: str, trusted: Trusted) -> Origin:
    found = Origin(peer, scheme)
    for each in reversed(chain):
        if each is None:
            return found
        said = each.scheme if each.scheme in ("http", "https") else found.scheme
        if not each.address:
            # An obfuscated or unknown node (RFC 7239 §6): the chain cannot be followed further.
            return Origin(found.address, said)
        found = Origin(each.address, said)
        if not is_trusted(each.address, trusted):
            break
    return found


def _element(octets: bytes) -> list[Pairs | None]:
    pairs: dict[bytes, bytes] = {}
    octets = octets.strip(b" \t")
    if not octets:
        return []
    at = 0
    while at < len(octets):
        pair = _PAIR.match(octets, at)
        if pair is not None:
            name, at = pair[1].lower(), pair.end()
            if name in pairs:
                return [None]  # RFC 7239 §4: each parameter stands once, or two readers take two of them
            pairs[name] = pair[2] if pair[2] is not None else _ESCAPED.sub(rb"\1", pair[3][1:-1])
        while at < len(octets) and octets[at] in b" \t":
            at += 1
        if at < len(octets) and octets[at] != ord(";"):
            return [None]
        at += 1
        while at < len(octets) and octets[at] in b" \t":
            at += 1
    return [pairs]


def hop(pairs: Pairs | None) -> Hop | None:
    """Return what an element of Forwarded says; None for one that proves nothing."""
    if pairs is None:
        return None
    scheme = _text(pairs.get(b"proto", b"")).lower()
    if b"for" not in pairs:
        return Hop("", scheme)
    found = _NODE.fullmatch(_text(pairs[b"for"]))
    if found is None:
        return None
    if found["hidden"]:
        return Hop("", scheme)
    address = parse(found["ipv4"] or found["ipv6"])
    return Hop(str(address), scheme) if address is not None else None


def _old_address(member: str) -> str:
    """The address of a member of X-Forwarded-For, which may have a port, and brackets without one."""
    found = _OLD_NODE.fullmatch(member)
    text = next((part for part in found.groups() if part is not None), "") if found else ""
    address = parse(text)
    return "" if address is None else str(address)


def _value(value: bytes) -> bytes:
    if _IS_TOKEN.fullmatch(value):
        return value
    return b'"%b"' % value.replace(b"\\", b"\\\\").replace(b'"', b'\\"')


def _text(octets: bytes) -> str:
    return octets.decode("latin-1")
