"""The roles that count for a request: of all tenants, and of the tenant that the request is for."""

import base64
import json
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaproxy.exchange import Identity
from metaproxy.identity.acting import Tenants
from metaproxy.identity.keystone_v2_token import Envelope, identity_of
from metaproxy.identity.rendering import IdentityHeaders

TENANTS = ("p1", "p5", "p9", "77")
ROLES = ("admin", "creator", "observer")
Given = tuple[str, str | int | None]
"""A role, and the tenant that identity names beside it."""

GIVEN = st.lists(
    st.tuples(st.sampled_from(ROLES), st.sampled_from([None, "p1", "p9", "77", 77, "Files_p5"])), max_size=6
)


def described(own: str | None, given: list[Given], impersonator: list[Given] | None = None) -> Identity:
    """Return the rendered identity of a token for the tenant ``own`` whose user was ``given`` roles."""
    access: dict[str, Any] = {
        "token": {"expires": "2027-01-15T09:00:00Z"},
        "user": {"id": "u1", "roles": _roles(given)},
    }
    if own is not None:
        access["token"]["tenant"] = {"id": own, "name": f"name of {own}"}
    if impersonator is not None:
        access["RAX-AUTH:impersonator"] = {"id": "i", "roles": _roles(impersonator)}
    document = msgspec.json.decode(msgspec.json.encode({"access": access}), type=Envelope)
    return IdentityHeaders(("openstack", "repose")).applied(identity_of(document.access, [], 1e12))


def _roles(given: list[Given]) -> list[dict[str, Any]]:
    return [{"name": name} | ({} if tenant is None else {"tenantId": tenant}) for name, tenant in given]


def told(identity: Identity, name: str) -> str:
    return dict(identity.header_pairs).get(name.encode(), b"").decode()


def oracle(given: list[Given], tenants: set[str]) -> set[str]:
    """Say it again, in the simplest words: a role counts if it was given for each of ``tenants``."""

    def counts(role: str) -> bool:
        return all((role, None) in spelled or (role, tenant) in spelled for tenant in tenants)

    spelled = {(role, None if tenant is None else str(tenant)) for role, tenant in given}
    return {role for role, _ in given if counts(role)}


@given(
    own=st.sampled_from([None, "p1", "p9"]),
    given=GIVEN,
    path=st.lists(st.sampled_from(TENANTS), min_size=1, max_size=2),
    exempt=st.sampled_from([(), ("admin",)]),
)
def test_a_role_counts_in_its_tenant_alone(
    own: str | None, given: list[Given], path: list[str], exempt: tuple[str, ...]
) -> None:
    identity = described(own, given)
    names = [tenant for tenant in (own, *(tenant for _, tenant in given)) if tenant is not None]
    mine = {str(name) for name in names}
    meant = [f"Files_{tenant}" if tenant == "p5" and "Files_p5" in mine else tenant for tenant in path]
    may = set(meant) <= mine or bool(oracle(given, {""}) & set(exempt))

    acting = Tenants(exempt, ("Files_",)).acting_on(identity, path)

    assert (acting is not None) == may
    if acting is not None:
        expected = oracle(given, set(meant))
        assert set(acting.roles) == expected
        assert set(filter(None, told(acting, "x-roles").split(","))) == expected
        assert told(acting, "x-role") == told(acting, "x-roles")
        assert told(acting, "x-project-id") == acting.project_id
        assert Tenants(exempt, ("Files_",)).acting_on(acting, path) == acting


@given(own=st.sampled_from([None, "p1", "p9"]), given=GIVEN)
def test_without_a_tenant_in_the_path_the_roles_of_the_tokens_own_tenant_count(
    own: str | None, given: list[Given]
) -> None:
    identity = described(own, given)

    assert set(identity.roles) == oracle(given, {identity.project_id})
    assert set(filter(None, told(identity, "x-roles").split(","))) == set(identity.roles)


@given(own=st.sampled_from([None, "p1"]), given=GIVEN, path=st.lists(st.sampled_from(TENANTS), max_size=8))
def test_what_other_tenants_were_asked_for_before_decides_nothing(
    own: str | None, given: list[Given], path: list[str]
) -> None:
    identity, busy = described(own, given), Tenants(["admin"])

    for tenant in path:
        assert busy.acting_on(identity, [tenant]) == Tenants(["admin"]).acting_on(identity, [tenant])


def test_a_role_of_one_tenant_exempts_from_nothing_elsewhere() -> None:
    of_one = described("p9", [("observer", "p9"), ("admin", "p1")])
    of_all = described("p9", [("observer", "p9"), ("admin", None)])

    assert Tenants(["admin"]).acting_on(of_one, ["p5"]) is None
    acting = Tenants(["admin"]).acting_on(of_all, ["p5"])

    assert acting is not None
    assert (acting.project_id, acting.roles) == ("p9", ("admin",))
    assert told(acting, "x-roles") == "admin"


def test_the_impersonators_roles_are_those_of_the_tenant_too() -> None:
    impersonator: list[Given] = [("racker", None), ("support", "p1"), ("reader", "p9")]
    identity = described("p1", [("member", "p1"), ("member", "p9")], impersonator)

    acting = Tenants().acting_on(identity, ["p9"])

    assert acting is not None
    assert told(identity, "x-impersonator-roles") == "racker,support"
    assert told(acting, "x-impersonator-roles") == "racker,reader"


def test_a_map_names_the_tenant_of_every_role() -> None:
    identity = described("p1", [("creator", "p1"), ("observer", "p9"), ("racker", None)])

    acting = Tenants().acting_on(identity, ["p9"])

    assert acting is not None
    assert json.loads(base64.b64decode(told(acting, "x-map-roles"))) == {
        "p1": ["creator"],
        "p9": ["observer"],
        "repose/domain/roles": ["racker"],
    }


@pytest.mark.parametrize("family", ["openstack", "repose"])
def test_the_families_stay_those_that_are_configured(family: Any) -> None:
    rendered = described("p1", [("creator", "p1"), ("observer", "p9")])
    identity = IdentityHeaders((family,)).applied(rendered)

    acting = Tenants().acting_on(identity, ["p9"])

    assert acting is not None
    # The name of the other tenant is not known.
    names = {name for name, _ in identity.header_pairs} - {b"x-project-name", b"x-tenant-name", b"x-tenant"}
    assert {name for name, _ in acting.header_pairs} == names


def test_a_catalog_that_was_told_is_told_for_every_tenant() -> None:
    rendered = described("p1", [("creator", "p1"), ("observer", "p9")])
    identity = IdentityHeaders(send_catalog=True).applied(replace(rendered, catalog=b"[1]"))

    acting = Tenants().acting_on(identity, ["p9"])

    assert acting is not None
    assert told(acting, "x-service-catalog") == "[1]"
