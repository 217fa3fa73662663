"""Listen addresses, targets, URLs and networks as an operator writes them."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaproxy.config.addresses import ListenAddress, Target, parse_listen, parse_network, parse_target
from metaproxy.settings.urls import parse_url


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8774", ListenAddress("127.0.0.1", 8774)),
        ("localhost:0", ListenAddress("localhost", 0)),
        ("[::]:8774", ListenAddress("::", 8774)),
        ("unix:/run/metaproxy/metaproxy.sock", ListenAddress(path="/run/metaproxy/metaproxy.sock")),
    ],
)
def test_an_address_to_listen_on_is_read_and_written(text: str, address: ListenAddress) -> None:
    assert parse_listen(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    [
        "8774",
        ":8774",
        "127.0.0.1",
        "host:65536",
        "host:http",
        "::1:80",
        "a b:80",
        "unix:metaproxy.sock",
        8774,
    ],
)
def test_anything_else_is_no_address_to_listen_on(text: object) -> None:
    with pytest.raises(ValueError, match=r"an address to listen on|absolute"):
        parse_listen(text)


def test_the_path_of_a_socket_fits_into_the_kernels_address() -> None:
    with pytest.raises(ValueError, match="at most 107 bytes"):
        parse_listen("unix:/" + "x" * 107)


@pytest.mark.parametrize(
    ("text", "local"),
    [
        ("127.0.0.1:80", True),
        ("127.9.9.9:80", True),
        ("[::1]:80", True),
        ("localhost:80", True),
        ("unix:/run/x", True),
        ("0.0.0.0:80", False),
        ("[::]:80", False),
        ("10.0.0.1:80", False),
        ("localhost.example:80", False),
    ],
)
def test_local_is_what_other_machines_cannot_reach(text: str, local: bool) -> None:
    assert parse_listen(text).is_local is local


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("http://127.0.0.1:18774", Target("http://127.0.0.1:18774")),
        ("https://nova.example", Target("https://nova.example")),
        ("http://nova.example/", Target("http://nova.example")),
        ("http://[::1]:80", Target("http://[::1]:80")),
        ("unix:/run/nova.sock", Target("http://localhost", "/run/nova.sock")),
    ],
)
def test_a_target_is_read(text: str, target: Target) -> None:
    assert parse_target(text) == target


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("nova.example:80", "a target is"),
        ("ftp://nova.example", "a target is"),
        ("http://", "a target is"),
        ("http://host:port", "a target is"),
        ("http://[::1", "a target is"),
        ("http://a\nb", "a target is"),
        (8774, "a target is"),
        ("http://nova.example/v2.1", "no path of its own"),
        ("http://nova.example?x", "no path of its own"),
        ("http://user:secret@nova.example", "a user or password may not stand in a URL"),
        ("unix:nova.sock", "absolute"),
        ("http://nova.example:0", "port 0 cannot be connected to"),
        ("https://[::1]:0", "port 0 cannot be connected to"),
    ],
)
def test_a_target_that_cannot_be_is_refused_with_its_reason(text: object, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as refusal:
        parse_target(text)

    assert "secret" not in str(refusal.value)


def test_a_url_loses_its_last_slash() -> None:
    assert parse_url("https://keystone.example/v3/") == "https://keystone.example/v3"


@pytest.mark.parametrize(
    "text", ["keystone.example/v3", "https://k.example/v3?x=1", "https://u:p@k.example", None]
)
def test_anything_else_is_no_url(text: object) -> None:
    with pytest.raises(ValueError, match="URL"):
        parse_url(text)


@pytest.mark.parametrize("text", ["10.0.0.0/8", "fd00::/8", "192.0.2.1/32"])
def test_a_network_is_read(text: str) -> None:
    assert parse_network(text) == ipaddress.ip_network(text)


def test_a_single_address_is_a_network_of_one() -> None:
    assert parse_network("192.0.2.1") == ipaddress.ip_network("192.0.2.1/32")


@pytest.mark.parametrize(
    ("text", "reason"),
    [("10.0.0.1/8", "its last bits must be zero"), ("10.0.0.0/33", "a network is"), (10, "a network is")],
)
def test_anything_else_is_no_network(text: object, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_network(text)


@given(st.ip_addresses(), st.integers(0, 65535))
def test_every_address_that_is_written_reads_back(host: object, port: int) -> None:
    address = ListenAddress(str(host), port)

    assert parse_listen(str(address)) == address


@given(st.text())
def test_no_text_makes_a_parser_fail_in_another_way(text: str) -> None:
    for parse in (parse_listen, parse_target, parse_url, parse_network):
        try:
            parse(text)
        except ValueError:
            continue
