"""What a client may not say about itself, in any spelling."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaproxy.protocol import identity_headers

RESERVED = sorted(identity_headers.RESERVED)
SEPARATORS = b"-_.!#$%&'*+^`|~"


@st.composite
def spellings(draw: st.DrawFn) -> bytes:
    name = draw(st.sampled_from(RESERVED))
    letters = [
        bytes([draw(st.sampled_from(SEPARATORS))])
        if letter == ord("-")
        else draw(st.sampled_from([bytes([letter]), bytes([letter]).upper()]))
        for letter in name
    ]
    return b"".join(letters)


@given(name=spellings())
def test_no_spelling_of_an_identity_header_survives(name: bytes) -> None:
    assert identity_headers.strip([(b"accept", b"*/*"), (name, b"admin")]) == [(b"accept", b"*/*")]


def test_every_duplicate_is_stripped() -> None:
    assert identity_headers.strip([(b"x-roles", b"a"), (b"x-roles", b"b"), (b"x_roles", b"c")]) == []


def test_other_headers_keep_their_order_and_their_duplicates() -> None:
    headers = [(b"vary", b"a"), (b"accept", b"b"), (b"vary", b"c")]

    assert identity_headers.strip(headers) == headers


@pytest.mark.parametrize("name", [b"x-auth-token", b"x-service-token", b"x-storage-token"])
def test_a_token_passes_under_its_own_name(name: bytes) -> None:
    assert identity_headers.strip([(name, b"t")]) == [(name, b"t")]


@pytest.mark.parametrize("name", [b"x_auth_token", b"X-Auth-Token", b"x-auth_token", b"x.service.token"])
def test_a_token_under_another_spelling_is_stripped(name: bytes) -> None:
    assert identity_headers.strip([(name, b"t")]) == []


@pytest.mark.parametrize(
    "name",
    [
        b"x-user-id", b"x-service-user-id", b"x-project-domain-name", b"x-service-roles", b"x-role",
        b"x-tenant", b"x-identity-status", b"x-service-identity-status", b"x-is-admin-project",
        b"openstack-system-scope", b"x-service-catalog", b"x-authorization", b"x-pp-user", b"x-pp-groups",
        b"x-catalog", b"x-map-roles", b"x-token-expires", b"x-default-region", b"x-contact-id",
        b"x-authenticated-by", b"x-impersonator-id", b"x-impersonator-name", b"x-impersonator-roles",
        b"x-relevant-roles", b"x-pp-next-route",
    ],
)  # fmt: skip
def test_the_families_hold(name: bytes) -> None:
    assert identity_headers.is_reserved(name)


@pytest.mark.parametrize("name", [b"x-auth-token", b"authorization", b"x-request-id", b"x-user-agent"])
def test_other_fields_are_not_reserved(name: bytes) -> None:
    assert not identity_headers.is_reserved(name)
