"""What the upstream is told of an identity."""

import base64
from dataclasses import replace

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from metaproxy.exchange import Identity
from metaproxy.identity.rendering import IdentityHeaders, acting_for, service_twins
from metaproxy.protocol.identity_headers import RESERVED
from metaproxy.telemetry.metrics import Metrics
from tests.identities import ALICE, FakeClock

FULL = Identity(
    user_id="u1",
    user_name="alice",
    user_domain_id="d1",
    user_domain_name="Users",
    project_id="p1",
    project_name="one",
    project_domain_id="d2",
    project_domain_name="Projects",
    roles=("member", "reader"),
    groups=(("gold", 1.0), ("beta", 0.5)),
    is_admin_project=False,
    catalog=b"[]",
    extra={"token_expires": "2027-01-15T09:00:00Z", "default_region": "DFW", "map_roles": "e30="},
)


def rendered(identity: Identity, *families: str, send_catalog: bool = False) -> dict[str, str]:
    headers = IdentityHeaders(families, send_catalog=send_catalog)  # type: ignore[arg-type]
    return {name.decode(): value.decode() for name, value in headers.render(identity)}


def test_the_openstack_family_is_keystonemiddlewares() -> None:
    assert rendered(FULL, "openstack") == {
        "x-identity-status": "Confirmed",
        "x-user-id": "u1",
        "x-user-name": "alice",
        "x-user-domain-id": "d1",
        "x-user-domain-name": "Users",
        "x-project-id": "p1",
        "x-project-name": "one",
        "x-project-domain-id": "d2",
        "x-project-domain-name": "Projects",
        "x-roles": "member,reader",
        "x-tenant-id": "p1",
        "x-tenant-name": "one",
        "x-tenant": "one",
        "x-user": "alice",
        "x-role": "member,reader",
        "x-is-admin-project": "False",
    }


def test_the_repose_family_is_what_repose_tells() -> None:
    assert rendered(FULL, "repose") == {
        "x-identity-status": "Confirmed",
        "x-authorization": "Proxy p1",
        "x-pp-user": "alice",
        "x-pp-groups": "gold;q=1.0,beta;q=0.5",
        "x-token-expires": "2027-01-15T09:00:00Z",
        "x-default-region": "DFW",
        "x-map-roles": "e30=",
    }


def test_a_token_of_the_system_says_so() -> None:
    assert rendered(Identity(user_id="u", system_scope="all"), "openstack")["openstack-system-scope"] == "all"


def test_a_token_of_a_domain_says_so() -> None:
    headers = rendered(Identity(user_id="u", domain_id="d", domain_name="D"), "openstack")

    assert (headers["x-domain-id"], headers["x-domain-name"]) == ("d", "D")
    assert "x-project-id" not in headers


def test_an_identity_that_does_not_say_is_the_admin_projects() -> None:
    assert rendered(Identity(user_id="u"), "openstack")["x-is-admin-project"] == "True"


def test_the_catalog_goes_along_on_demand() -> None:
    assert "x-service-catalog" not in rendered(FULL, "openstack", "repose")

    headers = rendered(FULL, "openstack", "repose", send_catalog=True)

    assert headers["x-service-catalog"] == "[]"
    assert base64.b64decode(headers["x-catalog"]) == b"[]"


def test_names_beyond_ascii_are_utf8() -> None:
    pairs = dict(IdentityHeaders().render(Identity(user_id="u", user_name="Zoë")))

    assert pairs[b"x-user-name"] == "Zoë".encode()


def test_a_comma_in_a_role_makes_no_second_role() -> None:
    assert rendered(Identity(user_id="u", roles=("a,admin",)), "openstack")["x-roles"] == "a%2Cadmin"


@given(text=st.text())
def test_no_name_can_break_out_of_its_field(text: str) -> None:
    identity = replace(FULL, user_name=text, project_id=text, roles=(text,), groups=((text, 1.0),))

    for name, value in IdentityHeaders(("openstack", "repose")).render(identity):
        assert name in RESERVED
        assert not any(byte < 0x20 or byte == 0x7F for byte in value)


def test_a_lone_surrogate_is_replaced() -> None:
    assert dict(IdentityHeaders().render(Identity(user_id="a\ud800")))[b"x-user-id"] == b"a?"


def test_a_service_tokens_fields_are_the_twins() -> None:
    identity = IdentityHeaders(("openstack", "repose")).applied(FULL)

    twins = dict(service_twins(identity))

    assert twins[b"x-service-identity-status"] == b"Confirmed"
    assert twins[b"x-service-user-id"] == b"u1"
    assert twins[b"x-service-roles"] == b"member,reader"
    assert all(name.startswith(b"x-service-") for name in twins)
    assert set(twins) <= RESERVED


def test_the_catalog_is_not_kept_beside_its_header() -> None:
    assert IdentityHeaders().applied(FULL).catalog is None


def test_acting_for_another_tenant_changes_every_field_that_names_it() -> None:
    identity = IdentityHeaders(("openstack", "repose")).applied(FULL)

    acting = acting_for(identity, "p2", ("p2",))

    pairs = dict(acting.header_pairs)
    assert acting.project_id == "p2"
    assert (pairs[b"x-project-id"], pairs[b"x-tenant-id"], pairs[b"x-authorization"]) == (
        b"p2",
        b"p2",
        b"Proxy p2",
    )
    assert not pairs.keys() & {b"x-project-name", b"x-tenant-name", b"x-tenant"}


@pytest.mark.parametrize("families", [("openstack",), ("repose",), ("openstack", "repose")])
def test_nothing_is_sent_that_clients_are_not_denied(families: tuple[str, ...]) -> None:
    assert {name.encode() for name in rendered(FULL, *families, send_catalog=True)} <= RESERVED


@pytest.mark.parametrize(
    ("limit", "fields"),
    [
        (2000, {b"x-service-catalog", b"x-catalog"}),
        (1200, {b"x-service-catalog"}),
        (1000, set()),
    ],
)
def test_a_catalog_that_is_too_large_for_a_field_is_left_out_and_counted(
    limit: int, fields: set[bytes]
) -> None:
    metrics, catalog = Metrics(), b'["' + b"x" * 1050 + b'"]'
    headers = IdentityHeaders(
        ("openstack", "repose"), send_catalog=True, max_catalog_bytes=limit, metrics=metrics
    )

    told = dict(headers.render(replace(ALICE, catalog=catalog)))

    assert {b"x-service-catalog", b"x-catalog"} & told.keys() == fields
    assert told[b"x-user-id"] == b"u1"
    counted = metrics.counter("metaproxy_catalogs_left_out", "").values
    assert sum(counted.values()) == 2 - len(fields)


def test_catalogs_that_are_left_out_are_logged_once_a_minute() -> None:
    clock = FakeClock()
    headers = IdentityHeaders(send_catalog=True, max_catalog_bytes=1, monotonic=clock)

    with structlog.testing.capture_logs() as logged:
        for pause in (0, 10, 40, 10, 1):
            clock.now += pause
            headers.render(replace(ALICE, catalog=b"[{}]"))

    assert [line["field"] for line in logged] == ["x-service-catalog"] * 2


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (" admin ", "%20admin%20"),
        ("admin ", "admin%20"),
        ("\u00a0admin", "%C2%A0admin"),
        ("admin\u2003", "admin%E2%80%83"),
        (" ", "%20"),
        ("site admin", "site admin"),
        ("admin", "admin"),
    ],
)
def test_a_name_with_blanks_at_its_ends_does_not_pass_for_one_without(name: str, told: str) -> None:
    fields = rendered(Identity(user_id="u", user_name=name, roles=("a", name)), "openstack")

    assert (fields["x-roles"], fields["x-user-name"]) == (f"a,{told}", told)
