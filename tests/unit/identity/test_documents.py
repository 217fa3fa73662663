"""What a token's document may leave out, what it may not, and what binds a token."""

import json
from typing import Any

import pytest

from metaproxy.exchange import Identity
from metaproxy.identity.troubles import IdentityUnavailable
from metaproxy.identity.validator import Rejected, TokenRejected
from metaproxy.protocol.credential_rules import MAX_RULES_LENGTH, CredentialRule
from tests.identities import KEYSTONE, described, keystone, router
from tests.unit.identity.test_keystone_v2 import IDENTITY
from tests.unit.identity.test_keystone_v2 import described as described_v2
from tests.unit.identity.test_keystone_v2 import router as router_v2
from tests.unit.identity.test_keystone_v2 import validator as validator_v2

RULE = {"id": "r1", "service": "compute", "method": "GET", "path": "/v2.1/servers"}


async def identity_of(_validator: Any = None, **changes: Any) -> Identity:
    """Return what is made of alice's token with ``changes``, which may be null."""
    routes = router()
    token = described()["token"] | changes
    routes.get(f"{KEYSTONE}/auth/tokens").respond(json={"token": token})
    return await keystone(routes, **(_validator or {})).validate(b"t")


async def identity_of_v2(changes: Any = None, **arguments: Any) -> Identity:
    routes = router_v2()
    document = described_v2()
    for place, value in (changes or {}).items():
        *way, last = place.split("/")
        at = document["access"]
        for name in way:
            at = at[name]
        at[last] = value
    routes.get(f"{IDENTITY}/tokens/t").respond(json=document)
    return await validator_v2(routes, **arguments).validate(b"t")


OPTIONAL: list[dict[str, Any]] = [
    {"catalog": None},
    {"catalog": []},
    {"catalog": [{"type": "compute", "name": None, "endpoints": [{"interface": None}, None]}]},
    {"catalog": [{"type": None, "endpoints": None}, None]},
    {"audit_ids": None},
    {"audit_ids": [None, "audit-0"]},
    {"roles": None},
    {"is_admin_project": None},
    {"system": None},
    {"domain": None},
    {"project": None},
    {"project": {"id": "p1", "name": None, "domain": None}},
    {"project": {"id": "p1", "domain": {"id": None, "name": None}}},
    {"user": {"id": "u1"}},
    {"user": {"id": "u1", "name": None, "domain": None, "OS-FEDERATION": None}},
    {"user": {"id": "u1", "OS-FEDERATION": {"groups": None}}},
    {"expires_at": "2027-01-15t09:00:00.000000z"},
    {"application_credential": None},
    {"application_credential": {"id": "c", "name": "n", "restricted": True}},
    {"application_credential": {"id": "c", "access_rules": None}},
    {"bind": None},
    {"bind": {}},
    {"methods": None, "issued_at": None, "OS-TRUST:trust": None},
]


@pytest.mark.parametrize("catalog", [False, True])
@pytest.mark.parametrize("changes", OPTIONAL, ids=json.dumps)
async def test_what_is_optional_may_be_absent_or_null(changes: dict[str, Any], catalog: bool) -> None:
    identity = await identity_of({"catalog": catalog}, **changes)

    assert identity.user_id == "u1"
    assert identity.access_rules is None


NEEDED: list[dict[str, Any]] = [
    {"user": None},
    {"user": {"id": None}},
    {"user": {"name": "alice"}},
    {"expires_at": None},
    {"roles": [{"name": None}]},
    {"roles": [{"id": "r1"}]},
    {"roles": [None]},
    {"project": {"id": None, "name": "one"}},
    {"project": {"name": "one"}},
    {"is_admin_project": "no"},
]


@pytest.mark.parametrize("changes", NEEDED, ids=json.dumps)
async def test_what_is_needed_may_not_be_absent_or_null(changes: dict[str, Any]) -> None:
    with pytest.raises(IdentityUnavailable):
        await identity_of(**changes)


async def test_a_catalog_that_is_not_sent_is_not_read() -> None:
    assert (await identity_of(catalog={"neither": "list"})).catalog is None
    with pytest.raises(IdentityUnavailable):
        await identity_of({"catalog": True}, catalog={"neither": "list"})


async def test_the_first_audit_id_is_the_tokens_own_even_if_it_is_null() -> None:
    assert (await identity_of(audit_ids=[None, "audit-0"])).audit_ids == ("", "audit-0")


@pytest.mark.parametrize(
    "place",
    [
        "serviceCatalog",
        "RAX-AUTH:impersonator",
        "token/tenant",
        "token/RAX-AUTH:authenticatedBy",
        "token/audit_ids",
        "token/bind",
        "token/tenant/name",
        "user/name",
        "user/roles",
        "user/RAX-AUTH:defaultRegion",
        "user/RAX-AUTH:contactId",
    ],
)
async def test_what_is_optional_in_v2_may_be_null(place: str) -> None:
    assert (await identity_of_v2({place: None}, catalog=True)).user_id == "u1"


@pytest.mark.parametrize("place", ["token", "token/expires", "user", "user/id"])
async def test_what_is_needed_in_v2_may_not_be_null(place: str) -> None:
    with pytest.raises(IdentityUnavailable):
        await identity_of_v2({place: None})


async def test_the_catalog_of_v2_is_read_on_demand_alone() -> None:
    catalog = {"serviceCatalog": [{"name": "nova"}]}

    assert (await identity_of_v2(catalog)).catalog is None
    assert json.loads((await identity_of_v2(catalog, catalog=True)).catalog or b"") == [{"name": "nova"}]
    assert (await identity_of_v2({"serviceCatalog": "none"})).user_id == "u1"


@pytest.mark.parametrize("bind", [{"kerberos": "alice@EXAMPLE"}, {"x509": None}, "kerberos", [1]])
async def test_a_token_that_is_bound_to_something_is_rejected(bind: Any) -> None:
    with pytest.raises(TokenRejected) as rejection:
        await identity_of(bind=bind)
    assert rejection.value.verdict == Rejected("token_bound")
    with pytest.raises(TokenRejected):
        await identity_of_v2({"token/bind": bind})


async def test_the_rules_of_our_service_become_part_of_the_identity() -> None:
    rules = [
        RULE,
        RULE | {"service": "image", "path": "/v2/images"},
        RULE | {"method": "POST", "path": "/v2.1/*/servers"},
    ]

    identity = await identity_of(application_credential={"id": "c", "access_rules": rules})

    assert identity.access_rules == (
        CredentialRule("GET", "/v2.1/servers"),
        CredentialRule("POST", "/v2.1/*/servers"),
    )


@pytest.mark.parametrize("rules", [[], [RULE | {"service": "image"}]])
async def test_rules_without_one_for_our_service_allow_nothing(rules: list[Any]) -> None:
    identity = await identity_of(application_credential={"access_rules": rules})

    assert identity.access_rules == ()


@pytest.mark.parametrize(
    "credential",
    [
        {"access_rules": {}},
        {"access_rules": "GET /"},
        {"access_rules": False},
        {"access_rules": [None]},
        {"access_rules": [RULE, {"service": "compute", "method": "GET"}]},
        {"access_rules": [RULE | {"path": None}]},
        {"access_rules": [RULE | {"method": ["GET"]}]},
        {"access_rules": [RULE | {"path": "/" + "a" * MAX_RULES_LENGTH}]},
        ["access_rules"],
        "a credential",
    ],
    ids=lambda credential: json.dumps(credential)[:60],
)
async def test_rules_that_cannot_be_read_make_the_token_invalid(credential: Any) -> None:
    with pytest.raises(TokenRejected) as rejection:
        await identity_of(application_credential=credential)

    assert rejection.value.verdict == Rejected("access_rules_unreadable")


async def test_rules_are_never_believed_where_it_is_not_known_which_service_they_are_for() -> None:
    with pytest.raises(TokenRejected) as rejection:
        await identity_of({"service_type": None}, application_credential={"access_rules": [RULE]})

    assert rejection.value.verdict == Rejected("access_rules_not_judged")
    assert (await identity_of({"service_type": None}, application_credential={"id": "c"})).user_id == "u1"


@pytest.mark.parametrize("rules", [[], [RULE], "GET /"])
async def test_rules_that_a_service_of_v2_tells_are_never_believed(rules: Any) -> None:
    with pytest.raises(TokenRejected):
        await identity_of_v2({"token/application_credential": {"access_rules": rules}})
    assert (await identity_of_v2({"token/application_credential": {"id": "c"}})).user_id == "u1"


@pytest.mark.parametrize("status", [400, 414, 431])
async def test_a_long_token_that_a_server_in_front_of_identity_does_not_read_is_no_failure(
    status: int,
) -> None:
    routes = router()
    routes.get(f"{KEYSTONE}/auth/tokens").respond(status, text="<html>too large</html>")

    with pytest.raises(TokenRejected):
        await keystone(routes).validate(b"x" * 4097)


async def test_keystone_is_told_that_rules_are_judged() -> None:
    routes = router()
    route = routes.get(f"{KEYSTONE}/auth/tokens").respond(json=described())

    await keystone(routes).validate(b"t")

    assert route.calls.last.request.headers["openstack-identity-access-rules"] == "1.0"
