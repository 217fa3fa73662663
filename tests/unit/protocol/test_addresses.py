from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaproxy.protocol.addresses import as_ipv4, canonical, counted_as


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("::ffff:198.51.100.7", "198.51.100.7"),
        ("::ffff:c633:6407", "198.51.100.7"),
        ("::FFFF:198.51.100.7%eth0", "198.51.100.7"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("2001:db8:0:0:0:0:0:1", "2001:db8::1"),
        ("fe80::1%aaaa", "fe80::1"),
        ("fe80::1%" + "a" * 100, "fe80::1"),
        ("", ""),
        ("testclient", "testclient"),
    ],
)
def test_an_address_has_one_spelling(text: str, expected: str) -> None:
    assert canonical(text) == expected


@given(st.ip_addresses(v=6))
def test_every_spelling_of_an_address_is_the_same(address: object) -> None:
    found = ip_address(str(address))

    assert canonical(found.exploded) == canonical(found.exploded.upper()) == canonical(found.compressed)


@pytest.mark.parametrize(
    ("address", "prefix", "expected"),
    [
        ("198.51.100.7", 64, "198.51.100.7"),
        ("2001:db8::1", 64, "2001:db8::/64"),
        ("2001:db8::ffff:1", 64, "2001:db8::/64"),
        ("2001:db8:0:1::1", 64, "2001:db8:0:1::/64"),
        ("2001:db8:0:1::1", 56, "2001:db8::/56"),
        ("2001:db8::1", 128, "2001:db8::1"),
        ("2001:db8::/64", 64, "2001:db8::/64"),
        ("", 64, ""),
        ("unix:x", 64, "unix:x"),
    ],
)
def test_ipv6_is_counted_by_network(address: str, prefix: int, expected: str) -> None:
    assert counted_as(address, prefix) == expected


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("fd00::/8", "fd00::/8"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:10.0.0.1/128", "10.0.0.1/32"),
        ("::/96", "::/96"),
    ],
)
def test_a_mapped_network_is_the_ipv4_one(network: str, expected: str) -> None:
    assert str(as_ipv4(ip_network(network))) == expected
