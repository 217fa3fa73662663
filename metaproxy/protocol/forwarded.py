"""Who the client is when trusted proxies stand in front: Forwarded (RFC 7239) and X-Forwarded-*.

Each proxy appends what it saw, so the fields are read from the right: as long as the peer that wrote
an element is trusted, the element is believed; the first address that is no trusted proxy is the
client. Whatever stands left of it was written by the client and proves nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address

from metaproxy.protocol.headers import Headers, combined, list_members

Network = IPv4Network | IPv6Network

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


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request comes from: the client's address and the scheme it used."""

    address: str
    scheme: str


def is_trusted(address: str, trusted: Sequence[Network]) -> bool:
    """Say whether ``address`` lies in one of the networks ``trusted``; no address never does."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return any((mapped or parsed) in network for network in trusted)


def origin(headers: Headers, peer: str, scheme: str, trusted: Sequence[Network]) -> Origin:
    """Return the origin of a request that the trusted proxy ``peer`` passed on.

    Forwarded goes before X-Forwarded-* where both are there: it is the standard.
    """
    forwarded = combined(headers, b"forwarded")
    if forwarded:
        return _from_elements(_forwarded_elements(forwarded), peer, scheme, trusted)
    addresses = [_text(member) for member in list_members(combined(headers, b"x-forwarded-for"))]
    schemes = [_text(member) for member in list_members(combined(headers, b"x-forwarded-proto"))]
    said = schemes[-1].lower() if schemes else scheme
    elements = [(address, said) for address in addresses] or [("", said)]
    return _from_elements(elements, peer, scheme, trusted)


def _from_elements(
    elements: Sequence[tuple[str, str]], peer: str, scheme: str, trusted: Sequence[Network]
) -> Origin:
    found = Origin(peer, scheme)
    for address, said_scheme in reversed(elements):
        bare = _without_port(address)
        if not _is_address(bare):
            # An obfuscated or unknown node (RFC 7239 §6): the chain cannot be followed further.
            return Origin(found.address, _known_scheme(said_scheme, found.scheme))
        found = Origin(bare, _known_scheme(said_scheme, found.scheme))
        if not is_trusted(bare, trusted):
            break
    return found


def _forwarded_elements(field_value: bytes) -> list[tuple[str, str]]:
    elements = []
    for member in list_members(field_value):
        pairs = dict(_pair(part) for part in member.split(b";"))
        elements.append((pairs.get("for", ""), pairs.get("proto", "").lower()))
    return elements


def _pair(part: bytes) -> tuple[str, str]:
    name, _, value = part.partition(b"=")
    return _text(name).strip().lower(), _text(value).strip().strip('"')


def _text(octets: bytes) -> str:
    return octets.decode("latin-1")


def _known_scheme(said: str, otherwise: str) -> str:
    return said if said in ("http", "https") else otherwise


def _without_port(node: str) -> str:
    if node.startswith("["):
        return node[1:].partition("]")[0]
    host, colon, _ = node.rpartition(":")
    return host if colon and ":" not in host else node


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
