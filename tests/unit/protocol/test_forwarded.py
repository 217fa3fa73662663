from ipaddress import ip_network

import pytest

from metaproxy.protocol.forwarded import Origin, is_trusted, origin

TRUSTED = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))

CASES = [
    # fields, origin
    ({}, ("10.0.0.1", "http")),
    ({"x-forwarded-for": "203.0.113.7"}, ("203.0.113.7", "http")),
    ({"x-forwarded-for": "203.0.113.7", "x-forwarded-proto": "https"}, ("203.0.113.7", "https")),
    ({"x-forwarded-for": "6.6.6.6, 203.0.113.7"}, ("203.0.113.7", "http")),
    ({"x-forwarded-for": "203.0.113.7, 10.0.0.2"}, ("203.0.113.7", "http")),
    ({"x-forwarded-for": "10.0.0.3, 10.0.0.2"}, ("10.0.0.3", "http")),
    ({"x-forwarded-for": "203.0.113.7:5000"}, ("203.0.113.7", "http")),
    ({"x-forwarded-for": "nonsense"}, ("10.0.0.1", "http")),
    ({"x-forwarded-for": "203.0.113.7, unknown"}, ("10.0.0.1", "http")),
    ({"x-forwarded-proto": "HTTPS"}, ("10.0.0.1", "https")),
    ({"x-forwarded-proto": "gopher"}, ("10.0.0.1", "http")),
    ({"forwarded": "for=203.0.113.7;proto=https"}, ("203.0.113.7", "https")),
    ({"forwarded": 'for="[2001:db8::1]:4711";proto=https'}, ("2001:db8::1", "https")),
    ({"forwarded": "for=6.6.6.6, for=203.0.113.7;proto=https"}, ("203.0.113.7", "https")),
    ({"forwarded": "for=_hidden;proto=https"}, ("10.0.0.1", "https")),
    ({"forwarded": "for=203.0.113.7", "x-forwarded-for": "6.6.6.6"}, ("203.0.113.7", "http")),
    ({"forwarded": "FOR=203.0.113.7;PROTO=HTTPS"}, ("203.0.113.7", "https")),
]


@pytest.mark.parametrize(("fields", "expected"), CASES)
def test_the_client_is_the_first_address_from_the_right_that_is_no_trusted_proxy(
    fields: dict[str, str], expected: tuple[str, str]
) -> None:
    headers = [(name.encode(), value.encode()) for name, value in fields.items()]

    assert origin(headers, "10.0.0.1", "http", TRUSTED) == Origin(*expected)


@pytest.mark.parametrize(
    ("address", "trusted"),
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("fd00::1", True),
        ("203.0.113.7", False),
        ("", False),
        ("unix", False),
    ],
)
def test_trust_is_a_matter_of_networks(address: str, trusted: bool) -> None:
    assert is_trusted(address, TRUSTED) is trusted
