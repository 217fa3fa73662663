from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaproxy.protocol.forwarded import (
    UNIX,
    ForwardedHeader,
    Origin,
    elements,
    hops,
    is_trusted,
    node,
    origin,
    written,
)

TRUSTED = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
PEER = "10.0.0.1"

X_FORWARDED = [
    # fields, origin
    ({}, (PEER, "http")),
    ({"x-forwarded-for": "203.0.113.7"}, ("203.0.113.7", "http")),
    ({"x-forwarded-for": "203.0.113.7", "x-forwarded-proto": "https"}, ("203.0.113.7", "https")),
    ({"x-forwarded-for": "6.6.6.6, 203.0.113.7"}, ("203.0.113.7", "http")),
    ({"x-forwarded-for": "203.0.113.7, 10.0.0.2"}, ("203.0.113.7", "http")),
    ({"x-forwarded-for": "10.0.0.3, 10.0.0.2"}, ("10.0.0.3", "http")),
    ({"x-forwarded-for": "203.0.113.7:5000"}, ("203.0.113.7", "http")),
    ({"x-forwarded-for": "[2001:DB8::1]:5000"}, ("2001:db8::1", "http")),
    ({"x-forwarded-for": "[2001:db8::1]5000"}, (PEER, "http")),
    ({"x-forwarded-for": "2001:db8::1%eth0"}, ("2001:db8::1", "http")),
    ({"x-forwarded-for": "::ffff:203.0.113.7"}, ("203.0.113.7", "http")),
    ({"x-forwarded-for": "203.0.113.7, ::ffff:10.0.0.2"}, ("203.0.113.7", "http")),
    ({"x-forwarded-for": "nonsense"}, (PEER, "http")),
    ({"x-forwarded-for": "203.0.113.007"}, (PEER, "http")),
    ({"x-forwarded-for": "203.0.113.7, unknown"}, (PEER, "http")),
    ({"x-forwarded-proto": "HTTPS"}, (PEER, "https")),
    ({"x-forwarded-proto": "gopher"}, (PEER, "http")),
    ({"forwarded": "for=6.6.6.6;proto=https"}, (PEER, "http")),
    ({"forwarded": "for=6.6.6.6;proto=https", "x-forwarded-for": "203.0.113.7"}, ("203.0.113.7", "http")),
]

FORWARDED = [
    ("", (PEER, "http")),
    ("for=203.0.113.7;proto=https", ("203.0.113.7", "https")),
    ("FOR=203.0.113.7;PROTO=HTTPS", ("203.0.113.7", "https")),
    ("for=6.6.6.6, for=203.0.113.7;proto=https", ("203.0.113.7", "https")),
    ("for=203.0.113.7, for=10.0.0.2", ("203.0.113.7", "http")),
    ("for=203.0.113.7,, for=10.0.0.2 ,", ("203.0.113.7", "http")),
    ("; for=203.0.113.7 ;; proto=https;", ("203.0.113.7", "https")),
    # Quoted strings: nothing inside separates, a backslash escapes.
    ('for=203.0.113.7;host="x;for=7.7.7.7"', ("203.0.113.7", "http")),
    ('for=203.0.113.7;by="x, for=7.7.7.7"', ("203.0.113.7", "http")),
    ('for=203.0.113.7;by="x\\", for=7.7.7.7"', ("203.0.113.7", "http")),
    ('for="203.0.113.7"', ("203.0.113.7", "http")),
    ('for="\\203.0.113.\\7"', ("203.0.113.7", "http")),
    # Nodes, and their ports.
    ('for="203.0.113.7:4711"', ("203.0.113.7", "http")),
    ('for="203.0.113.7:_gate"', ("203.0.113.7", "http")),
    ('for="[2001:DB8::1]"', ("2001:db8::1", "http")),
    ('for="[2001:db8::1]:4711";proto=https', ("2001:db8::1", "https")),
    ('for="[::ffff:203.0.113.7]"', ("203.0.113.7", "http")),
    ('for="203.0.113.7:471100"', (PEER, "http")),
    ('for="2001:db8::1"', (PEER, "http")),
    ('for="[2001:db8::1"', (PEER, "http")),
    ('for="[203.0.113.7]"', ("203.0.113.7", "http")),
    ("for=203.0.113.256", (PEER, "http")),
    ('for="unknown:abc";proto=https', (PEER, "http")),
    ('for="_node:999999";proto=https', (PEER, "http")),
    ('for="203.0.113.7:"', (PEER, "http")),
    ('for="203.0.113.7:+443"', (PEER, "http")),
    ("for=_;proto=https", (PEER, "http")),
    ("by=203.0.113.43;proto=https;for=203.0.113.7", ("203.0.113.7", "https")),
    ("for: 203.0.113.7;proto: https", (PEER, "http")),
    # Hidden nodes: the chain ends at whoever hides it, whose scheme is believed.
    ("for=_hidden;proto=https", (PEER, "https")),
    ('for="_SEVKISEK:_p";proto=https', (PEER, "https")),
    ("for=unknown;proto=https", (PEER, "https")),
    ("for=203.0.113.7, for=unknown", (PEER, "http")),
    ("proto=https", (PEER, "https")),
    # Unreadable elements prove nothing, not even a scheme; those to their right stand.
    ("for=203.0.113.7;for=7.7.7.7;proto=https", (PEER, "http")),
    ("for=203.0.113.7;For=203.0.113.7", (PEER, "http")),
    ("for=203.0.113.7;proto=https;proto=http", (PEER, "http")),
    ("for=nonsense;proto=https", (PEER, "http")),
    ("for=[2001:db8::1];proto=https", (PEER, "http")),
    ("for=203.0.113.7:80;proto=https", (PEER, "http")),
    ("for = 203.0.113.7", (PEER, "http")),
    ("for=203.0.113.7 proto=https", (PEER, "http")),
    ("for=;proto=https", (PEER, "http")),
    ("203.0.113.7", (PEER, "http")),
    ('for="203.0.113.7', (PEER, "http")),
    ('for=6.6.6.6;by="x, for=203.0.113.7', (PEER, "http")),
    ('for=6.6.6.6;by="x, for=203.0.113.7;host="h"', (PEER, "http")),
    ('fo"o, for=203.0.113.7', (PEER, "http")),
    ("nonsense, for=203.0.113.7", ("203.0.113.7", "http")),
    ('for="x, for=203.0.113.7", for=10.0.0.2;proto=https', ("10.0.0.2", "https")),
]


def headers(fields: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in fields.items()]


@pytest.mark.parametrize(("fields", "expected"), X_FORWARDED)
def test_the_client_is_the_first_address_from_the_right_that_is_no_trusted_proxy(
    fields: dict[str, str], expected: tuple[str, str]
) -> None:
    assert origin(headers(fields), PEER, "http", TRUSTED) == Origin(*expected)


@pytest.mark.parametrize(("value", "expected"), FORWARDED)
def test_forwarded_is_read_as_rfc_7239_has_it(value: str, expected: tuple[str, str]) -> None:
    fields = headers({"forwarded": value, "x-forwarded-for": "6.6.6.6", "x-forwarded-proto": "https"})

    assert origin(fields, PEER, "http", TRUSTED, "forwarded") == Origin(*expected)


def test_lines_of_x_forwarded_for_are_one_list() -> None:
    fields = [(b"x-forwarded-for", b"6.6.6.6"), (b"x-forwarded-for", b"203.0.113.7")]

    assert origin(fields, PEER, "http", TRUSTED) == Origin("203.0.113.7", "http")


def test_a_line_that_is_unreadable_hides_nothing_of_the_next() -> None:
    fields = [(b"forwarded", b'for=6.6.6.6;by="x'), (b"forwarded", b"for=203.0.113.7")]

    assert origin(fields, PEER, "http", TRUSTED, "forwarded") == Origin("203.0.113.7", "http")


tokens = st.text("abcXYZ019!#$%&'*+-.^_`|~", min_size=1, max_size=8).map(str.encode)
values = st.text(
    st.characters(codec="latin-1", exclude_categories=["Cc"]) | st.sampled_from('\t",;\\='), max_size=12
).map(lambda text: text.encode("latin-1"))
parameters = st.dictionaries(tokens.map(bytes.lower), values, min_size=1, max_size=4)


@given(st.lists(parameters, min_size=1, max_size=4), st.sampled_from([b",", b", ", b" ,\t", b",,"]))
def test_every_element_that_is_written_is_read_as_it_was(
    said: list[dict[bytes, bytes]], separator: bytes
) -> None:
    line = separator.join(written(pairs.items()) for pairs in said)

    assert elements(line) == said


addresses = st.ip_addresses().map(lambda address: str(getattr(address, "ipv4_mapped", None) or address))
ports = st.sampled_from([b"", b":0", b":4711", b":_p-1"])


@given(addresses, ports, parameters)
def test_every_address_that_is_written_is_found(address: str, port: bytes, more: dict[bytes, bytes]) -> None:
    pairs = {**more, b"for": node(address) + port}

    [hop] = hops([(b"forwarded", written(pairs.items()))])

    assert hop is not None
    assert hop.address == address


@given(st.binary(max_size=60), addresses, st.sampled_from(["x-forwarded", "forwarded"]))
def test_a_client_can_choose_no_address_that_its_proxy_did_not_write(
    forged: bytes, address: str, believed: ForwardedHeader
) -> None:
    name = b"forwarded" if believed == "forwarded" else b"x-forwarded-for"
    told = written([(b"for", node(address))]) if believed == "forwarded" else address.encode()
    fields = [(name, forged + b", " + told)]

    found = origin(fields, PEER, "http", TRUSTED, believed)

    trusted = is_trusted(address, TRUSTED)
    assert found.address in (address, PEER) or trusted


@given(st.binary(max_size=80))
def test_every_value_is_read_without_a_fault(value: bytes) -> None:
    for name in (b"forwarded", b"x-forwarded-for"):
        for believed in ("x-forwarded", "forwarded"):
            found = origin([(name, value)], PEER, "http", TRUSTED, believed)
            assert str(ip_address(found.address)) == found.address


@pytest.mark.parametrize(
    ("address", "trusted"),
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("::FFFF:0a01:0203", True),
        ("fd00::1", True),
        ("fd00::1%eth0", True),
        ("203.0.113.7", False),
        ("", False),
        ("unix", False),
    ],
)
def test_trust_is_a_matter_of_networks(address: str, trusted: bool) -> None:
    assert is_trusted(address, TRUSTED) is trusted
    assert is_trusted(address, (*TRUSTED, UNIX)) is trusted


@pytest.mark.parametrize(("is_unix", "named", "trusted"), [(True, True, True), (True, False, False)])
def test_a_peer_on_a_unix_socket_is_trusted_by_name(is_unix: bool, named: bool, trusted: bool) -> None:
    networks = (*TRUSTED, UNIX) if named else TRUSTED

    assert is_trusted("", networks, is_unix=is_unix) is trusted
