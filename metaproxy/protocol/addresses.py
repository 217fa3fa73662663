"""Internet addresses as texts: one spelling for each, and the network that is counted as one consumer.

Facts this file rests on. An IPv6 address has many spellings (RFC 4291 §2.2), and one that is canonical
(RFC 5952). An IPv4 client of a dual-stack socket is seen as an IPv4-mapped address (RFC 4291 §2.5.5.2).
A zone (``%eth0``, RFC 4007 §11) means something on one machine alone, and its text is free. A site is given
a prefix of IPv6 addresses, 64 bits long at the most (RFC 6177): each of its machines may use all of them.
"""

from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Network = IPv4Network | IPv6Network

IPV6_PREFIX = 64
MEMO_ENTRIES = 8192
LONGEST_TEXT = 64
"""No address is longer, a zone of a usual length included; longer texts are read without the memo."""


def parse(text: str) -> IPv4Address | IPv6Address | None:
    """Return the address that ``text`` spells, without a zone and IPv4 if it is mapped; None for none."""
    return _parse(text) if len(text) <= LONGEST_TEXT else _read(text)


def canonical(text: str) -> str:
    """Return the one spelling of an address; a text that is no address as it is."""
    return _canonical(text) if len(text) <= LONGEST_TEXT else _spelled(text)


def counted_as(address: str, ipv6_prefix: int) -> str:
    """Return the name by which a client is counted: an IPv4 address, or an IPv6 network of that length.

    ``2001:db8::/64`` for ``2001:db8::1``. Anything else, networks included, stays as it is.
    """
    return _network(address, ipv6_prefix) if ":" in address else address


def as_ipv4(network: Network) -> Network:
    """Return the IPv4 network that an IPv4-mapped one means; any other as it is."""
    if network.version == 6 and network.prefixlen >= 96:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return IPv4Network((mapped, network.prefixlen - 96))
    return network


def _read(text: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(text)
    except ValueError:
        return None
    if found.version == 4:
        return found
    if found.ipv4_mapped is not None:
        return found.ipv4_mapped
    return IPv6Address(int(found)) if found.scope_id is not None else found


def _spelled(text: str) -> str:
    found = _read(text)
    return text if found is None else str(found)


_parse = lru_cache(MEMO_ENTRIES)(_read)
_canonical = lru_cache(MEMO_ENTRIES)(_spelled)


@lru_cache(MEMO_ENTRIES)
def _network(address: str, ipv6_prefix: int) -> str:
    found = parse(address)
    if found is None:
        return address
    if found.version == 4 or ipv6_prefix == 128:
        return str(found)
    return str(IPv6Network((int(found), ipv6_prefix), strict=False))
