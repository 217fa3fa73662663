"""Tokens validated by an Identity API v2.0."""

import base64
import json
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import respx

from metaproxy.identity.keystone_v2 import KeystoneV2, PasswordV2
from metaproxy.identity.troubles import IdentityUnavailable, Trouble
from metaproxy.identity.validator import Rejected, TokenRejected
from tests.identities import NOW, FakeClock, no_pause, transport

IDENTITY = "http://identity.test/v2.0"
LOGIN = PasswordV2("metaproxy", "service-password")
IN_AN_HOUR = "2027-01-15T03:00:00.000-06:00"


def described(**changes: Any) -> dict[str, Any]:
    access: dict[str, Any] = {
        "token": {
            "id": "alice",
            "expires": IN_AN_HOUR,
            "tenant": {"id": "123", "name": "123"},
            "RAX-AUTH:authenticatedBy": ["PASSWORD"],
        },
        "user": {
            "id": "u1",
            "name": "alice",
            "roles": [
                {"id": "1", "name": "compute:default", "tenantId": "123"},
                {"id": "2", "name": "object-store:default", "tenantId": "MossoCloudFS_123"},
                {"id": "3", "name": "identity:user-admin"},
            ],
            "RAX-AUTH:defaultRegion": "DFW",
        },
    }
    return {"access": access | changes}


def router() -> respx.MockRouter:
    routes = respx.MockRouter(assert_all_called=False)
    routes.post(f"{IDENTITY}/tokens").respond(
        json={"access": {"token": {"id": "service-token", "expires": IN_AN_HOUR}}}
    )
    return routes


def validator(routes: respx.MockRouter, **arguments: Any) -> KeystoneV2:
    defaults: dict[str, Any] = {
        "login": LOGIN,
        "wall": FakeClock(NOW),
        "monotonic": FakeClock(),
        "sleep": no_pause,
    }
    return KeystoneV2(transport(routes), "http://identity.test", **(defaults | arguments))


async def test_a_token_names_its_user_its_tenants_and_its_roles() -> None:
    routes = router()
    route = routes.get(f"{IDENTITY}/tokens/alice").respond(json=described())

    identity = await validator(routes).validate(b"alice")

    assert (identity.user_id, identity.user_name) == ("u1", "alice")
    assert (identity.project_id, identity.project_name) == ("123", "123")
    assert identity.tenant_ids == ("123", "MossoCloudFS_123")
    assert identity.roles == ("compute:default", "identity:user-admin")
    assert identity.roles_in(["MossoCloudFS_123"]) == ("object-store:default", "identity:user-admin")
    assert identity.roles_in([""]) == ("identity:user-admin",)
    assert identity.expires_at == NOW + 3600
    assert identity.extra["default_region"] == "DFW"
    assert identity.extra["authenticated_by"] == "PASSWORD"
    assert json.loads(base64.b64decode(identity.extra["map_roles"])) == {
        "123": ["compute:default"],
        "MossoCloudFS_123": ["object-store:default"],
        "repose/domain/roles": ["identity:user-admin"],
    }
    assert route.calls.last.request.headers["x-auth-token"] == "service-token"


async def test_a_token_without_a_tenant_acts_for_the_first_of_its_roles() -> None:
    routes = router()
    routes.get(f"{IDENTITY}/tokens/alice").respond(json=described(token={"expires": IN_AN_HOUR}))

    assert (await validator(routes).validate(b"alice")).project_id == "123"


async def test_ids_may_be_numbers() -> None:
    routes = router()
    routes.get(f"{IDENTITY}/tokens/alice").respond(
        json=described(user={"id": 7}, token={"expires": IN_AN_HOUR, "tenant": {"id": 123}})
    )

    identity = await validator(routes).validate(b"alice")

    assert (identity.user_id, identity.project_id) == ("7", "123")


async def test_an_impersonator_is_named() -> None:
    routes = router()
    impersonator = {"id": "i", "name": "support", "roles": [{"name": "racker"}, {"name": "admin"}]}
    routes.get(f"{IDENTITY}/tokens/alice").respond(json=described(**{"RAX-AUTH:impersonator": impersonator}))

    extra = (await validator(routes).validate(b"alice")).extra

    assert (extra["impersonator_id"], extra["impersonator_name"]) == ("i", "support")
    assert extra["impersonator_roles"] == "racker,admin"


async def test_the_catalog_is_kept_where_the_answer_holds_it() -> None:
    routes = router()
    routes.get(f"{IDENTITY}/tokens/alice").respond(json=described(serviceCatalog=[{"type": "compute"}]))

    assert (await validator(routes, catalog=True).validate(b"alice")).catalog == b'[{"type": "compute"}]'


@pytest.mark.parametrize("token", [b".", b"..", b"../users", b"a/b", b"a\\b", b"%2e%2e"])
async def test_a_token_does_not_lead_to_another_resource(token: bytes) -> None:
    routes = router()
    elsewhere = routes.get(url__startswith=IDENTITY).respond(json={"version": {"id": "v2.0"}})

    with pytest.raises(TokenRejected):
        await validator(routes).validate(token)

    assert not elsewhere.called


@pytest.mark.parametrize("token", [b"..;x", b"a?b#c", b"a.b", b"a+b=", b"PKIZ_a-b"])
async def test_a_token_is_one_segment_whatever_is_in_it(token: bytes) -> None:
    routes = router()
    route = routes.get(url__startswith=f"{IDENTITY}/tokens/").respond(404, json={"itemNotFound": {}})

    with pytest.raises(TokenRejected):
        await validator(routes).validate(token)

    assert route.calls.last.request.url.raw_path.rpartition(b"/tokens/")[2] == quote(token, safe="").encode()


async def test_groups_are_asked_for_on_demand() -> None:
    routes = router()
    routes.get(f"{IDENTITY}/tokens/alice").respond(json=described())
    route = routes.get(f"{IDENTITY}/users/u1/RAX-KSGRP").respond(
        json={"RAX-KSGRP:groups": [{"id": "0", "name": "Default"}, {"id": "9", "name": "Gold"}]}
    )

    assert (await validator(routes).validate(b"alice")).groups == ()
    assert not route.called

    assert (await validator(routes, groups=True).validate(b"alice")).groups == (("0", 1.0), ("9", 1.0))


async def test_a_user_without_groups_has_none() -> None:
    routes = router()
    routes.get(f"{IDENTITY}/tokens/alice").respond(json=described())
    routes.get(f"{IDENTITY}/users/u1/RAX-KSGRP").respond(404)

    assert (await validator(routes, groups=True).validate(b"alice")).groups == ()


async def test_groups_that_cannot_be_told_are_trouble() -> None:
    routes = router()
    routes.get(f"{IDENTITY}/tokens/alice").respond(json=described())
    routes.get(f"{IDENTITY}/users/u1/RAX-KSGRP").respond(500)

    with pytest.raises(IdentityUnavailable):
        await validator(routes, groups=True).validate(b"alice")


@pytest.mark.parametrize("status", [404, 400])
async def test_an_unknown_token_is_rejected(status: int) -> None:
    routes = router()
    routes.get(f"{IDENTITY}/tokens/alice").respond(status, json={"itemNotFound": {"code": status}})

    with pytest.raises(TokenRejected):
        await validator(routes).validate(b"alice")


async def test_an_expired_token_is_rejected() -> None:
    routes = router()
    expired = {"expires": "2027-01-15T01:00:00.000-06:00"}
    routes.get(f"{IDENTITY}/tokens/alice").respond(json=described(token=expired))

    with pytest.raises(TokenRejected) as rejection:
        await validator(routes).validate(b"alice")
    assert rejection.value.verdict == Rejected("token_expired")


@pytest.mark.parametrize(
    ("status", "trouble"), [(403, Trouble.FORBIDDEN), (429, Trouble.OVERLOADED), (500, Trouble.FAILED)]
)
async def test_what_is_no_verdict_is_trouble(status: int, trouble: Trouble) -> None:
    routes = router()
    routes.get(f"{IDENTITY}/tokens/alice").respond(status)

    with pytest.raises(IdentityUnavailable) as error:
        await validator(routes).validate(b"alice")
    assert error.value.trouble is trouble


@pytest.mark.parametrize(
    ("login", "auth"),
    [
        (LOGIN, {}),
        (PasswordV2("metaproxy", "service-password", tenant_id="1"), {"tenantId": "1"}),
        (PasswordV2("metaproxy", "service-password", tenant_name="s"), {"tenantName": "s"}),
    ],
)
async def test_the_login_is_written_as_the_service_reads_it(login: PasswordV2, auth: dict[str, str]) -> None:
    routes = router()

    await validator(routes, login=login).start()

    credentials = {"username": "metaproxy", "password": "service-password"}
    sent = json.loads(routes.calls.last.request.content)
    assert sent == {"auth": {"passwordCredentials": credentials, **auth}}


@pytest.mark.parametrize(
    ("status", "trouble"),
    [
        (401, Trouble.LOGIN_REFUSED),
        (403, Trouble.LOGIN_REFUSED),
        (503, Trouble.FAILED),
        (302, Trouble.NONSENSE),
    ],
)
async def test_a_login_that_fails_is_trouble(status: int, trouble: Trouble) -> None:
    routes = respx.MockRouter()
    routes.post(f"{IDENTITY}/tokens").respond(status)

    with pytest.raises(IdentityUnavailable) as error:
        await validator(routes).start()
    assert error.value.trouble is trouble


async def test_without_a_login_a_token_validates_itself() -> None:
    routes = respx.MockRouter()
    route = routes.get(f"{IDENTITY}/tokens/alice").respond(json=described())
    made_up = routes.get(url__regex=rf"{IDENTITY}/tokens/[0-9a-f]{{32}}").respond(404)
    validating = validator(routes, login=None)

    await validating.start()
    identity = await validating.validate(b"alice")
    await validating.close()

    assert identity.user_id == "u1"
    assert route.calls.last.request.headers["x-auth-token"] == "alice"
    assert made_up.call_count == 1


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_without_a_login_a_refusal_is_the_tokens_own(status: int) -> None:
    routes = respx.MockRouter()
    routes.get(f"{IDENTITY}/tokens/alice").mock(return_value=httpx.Response(status))

    with pytest.raises(TokenRejected):
        await validator(routes, login=None).validate(b"alice")
