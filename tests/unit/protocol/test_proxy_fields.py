from pathlib import Path

import pytest

from metaproxy.protocol import identity_headers
from metaproxy.protocol.proxy_fields import (
    NAMES,
    PREFIXES,
    is_told_by_proxies,
    keyed,
    nearest,
    without_contradictions,
    without_other_family,
    without_told,
)

TOLD = (
    "Forwarded X-Forwarded X-Forwarded-For X-Forwarded-Proto X-Forwarded-Host X-Forwarded-Ssl "
    "X-Forwarded-Protocol X-Forwarded-Scheme X-Forwarded-By X-Forwarded-Client-Cert X-Forwarded-User "
    "X-Forwarded-Email X-Forwarded-Groups X-Forwarded-Access-Token X-Forwarded-Path X-Forwarded-Uri "
    "X-Forwarded-Method X-Forwarded-Tls-Client-Cert X-Forwarded-Anything X-Real-IP X-Client-IP "
    "True-Client-IP X-Cluster-Client-IP CF-Connecting-IP Fastly-Client-IP X-Original-URL X-Original-Host "
    "X-Original-Forwarded-For X-Rewrite-URL X-Host Front-End-Https X-Url-Scheme Remote-User X-Remote-User "
    "X-Remote-Group X-Remote-Extra-Scopes X-SSL-Client-S-DN SSL-Client-Cert Client-Cert X-Client-Cert "
    "X-Auth-Request-User X-Envoy-External-Address X-Accel-Mapping X-Sendfile-Type Proxy"
)
OURS = (
    "Accept Authorization Connection Content-Length Content-Type Cookie Host If-None-Match Origin "
    "OpenStack-API-Version X-OpenStack-Nova-API-Version X-OpenStack-Request-ID X-Auth-Token X-Service-Token "
    "X-Storage-Token X-Instance-Id X-Requested-With Proxy-Authorization Proxy-Connection Via User-Agent "
    "X-Auth-Key X-Subject-Token X-Trace-Info X-Object-Meta-Cf Traceparent Openstack-Identity-Access-Rules"
)


@pytest.mark.parametrize("name", TOLD.lower().split())
def test_what_a_proxy_tells_is_taken_off_a_client(name: str) -> None:
    assert without_told([(b"accept", b"a"), (name.encode(), b"1")]) == [(b"accept", b"a")]


@pytest.mark.parametrize("name", OURS.lower().split())
def test_what_clients_say_for_themselves_is_left(name: str) -> None:
    assert not is_told_by_proxies(name.encode())


def test_no_token_field_is_taken_for_one_of_a_proxy() -> None:
    assert not [name for name in identity_headers.TOKEN_FIELDS if is_told_by_proxies(name)]


@pytest.mark.parametrize(
    ("believed", "left"),
    [
        ("x-forwarded", [b"x-forwarded-for", b"x-forwarded-ssl", b"x-real-ip"]),
        ("forwarded", [b"forwarded", b"x-real-ip"]),
    ],
)
def test_the_family_that_is_not_named_is_taken_off_a_proxy_too(believed: str, left: list[bytes]) -> None:
    names = [b"forwarded", b"x-forwarded-for", b"x-forwarded-ssl", b"x-real-ip"]

    found = without_other_family([(name, b"1") for name in names], believed)  # type: ignore[arg-type] # of the table

    assert [name for name, _ in found] == left


@pytest.mark.parametrize(
    ("name", "value", "stays"),
    [
        ("x-real-ip", "203.0.113.7", True),
        ("x-real-ip", "::ffff:203.0.113.7", True),
        ("x-real-ip", "6.6.6.6", False),
        ("true-client-ip", "nonsense", False),
        ("x-forwarded-ssl", "on", True),
        ("x-forwarded-protocol", "SSL", True),
        ("front-end-https", "off", False),
        ("x-forwarded-scheme", "http", False),
        ("x-forwarded-user", "alice", True),
    ],
)
def test_a_field_that_contradicts_what_is_believed_is_taken_off(name: str, value: str, stays: bool) -> None:
    field = (name.encode(), value.encode())

    assert without_contradictions([field], "203.0.113.7", "https") == ([field] if stays else [])


def test_where_no_address_was_told_none_contradicts() -> None:
    assert without_contradictions([(b"x-real-ip", b"203.0.113.7")], "", "http")


@pytest.mark.parametrize(
    ("values", "left"),
    [
        ([b"evil, real"], b"real"),
        ([b"evil", b"real"], b"real"),
        ([b"evil, evil", b"real,"], b"real"),
        ([b"real"], b"real"),
        ([b","], b""),
        ([b""], b""),
    ],
)
def test_of_x_forwarded_host_the_last_value_is_left(values: list[bytes], left: bytes) -> None:
    fields = [(b"accept", b"a, b"), *((b"x-forwarded-host", value) for value in values)]

    assert nearest(fields) == [(b"accept", b"a, b"), (b"x-forwarded-host", left)]


def test_what_can_change_an_answer_is_keyed_and_addresses_are_not() -> None:
    fields = [
        (b"accept", b"a"),
        (b"x-forwarded-ssl", b"on"),
        (b"x-forwarded-for", b"1"),
        (b"x-real-ip", b"1"),
    ]

    assert keyed(fields) == ((b"x-forwarded-ssl", b"on"),)


def test_security_md_lists_every_prefix_and_name() -> None:
    text = (Path(__file__).parents[3] / "SECURITY.md").read_text()

    assert [prefix for prefix in PREFIXES if f"`{prefix.decode()}*`" not in text] == []
    assert [name for name in sorted(NAMES) if f"`{name.decode()}`" not in text] == []
