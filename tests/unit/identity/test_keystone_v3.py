"""Tokens validated by Keystone v3."""

import json
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from metaproxy.identity.keystone_v3 import ApplicationCredential, Password
from metaproxy.identity.rendering import IdentityHeaders
from metaproxy.identity.troubles import IdentityUnavailable, Trouble
from metaproxy.identity.validator import Rejected, TokenRejected
from tests.identities import AN_HOUR_AGO, KEYSTONE, NOW, FakeClock, described, issued, keystone, router

VALIDATION = f"{KEYSTONE}/auth/tokens"


async def test_a_project_token_names_user_project_and_roles() -> None:
    routes = router()
    route = routes.get(VALIDATION).respond(json=described(is_admin_project=True))

    identity = await keystone(routes).validate(b"alice")

    assert (identity.user_id, identity.user_name, identity.user_domain_name) == ("u1", "alice", "Default")
    assert (identity.project_id, identity.project_name, identity.project_domain_id) == (
        "p1",
        "one",
        "default",
    )
    assert identity.roles == ("member", "reader")
    assert identity.audit_ids == ("audit-1", "audit-0")
    assert identity.is_admin_project is True
    assert identity.expires_at == NOW + 3600
    request = route.calls.last.request
    assert request.headers["x-auth-token"] == "service-token"
    assert request.headers["x-subject-token"] == "alice"
    assert request.url.query == b"nocatalog=1"


async def test_a_domain_token_names_its_domain() -> None:
    routes = router()
    routes.get(VALIDATION).respond(json=described(project=None, domain={"id": "d", "name": "D"}))

    identity = await keystone(routes).validate(b"t")

    assert (identity.domain_id, identity.domain_name, identity.project_id) == ("d", "D", "")


async def test_a_system_token_names_the_system() -> None:
    routes = router()
    routes.get(VALIDATION).respond(json=described(project=None, system={"all": True}))

    identity = await keystone(routes).validate(b"t")

    assert (identity.system_scope, identity.project_id) == ("all", "")


async def test_an_unscoped_token_names_its_user_alone() -> None:
    routes = router()
    routes.get(VALIDATION).respond(json=described(project=None, roles=None))

    identity = await keystone(routes).validate(b"t")

    assert (identity.user_id, identity.project_id, identity.domain_id, identity.roles) == ("u1", "", "", ())


async def test_a_federated_user_brings_the_groups_of_its_token() -> None:
    federation = {"groups": [{"id": "g1"}, {"id": "g2"}], "identity_provider": {"id": "idp"}}
    user = {"id": "u1", "name": "alice", "domain": {"name": "Federated"}, "OS-FEDERATION": federation}
    routes = router()
    routes.get(VALIDATION).respond(json=described(user=user))

    identity = await keystone(routes).validate(b"t")

    assert identity.groups == (("g1", 1.0), ("g2", 1.0))
    rendered = dict(IdentityHeaders(("repose",)).render(identity))
    assert rendered[b"x-pp-groups"] == b"g1;q=1.0,g2;q=1.0"


async def test_a_federated_user_without_groups_has_none() -> None:
    user = {"id": "u1", "OS-FEDERATION": {"protocol": {"id": "saml2"}}}
    routes = router()
    routes.get(VALIDATION).respond(json=described(user=user))

    assert (await keystone(routes).validate(b"t")).groups == ()


async def test_the_catalog_is_asked_for_on_demand_and_told_by_region() -> None:
    endpoints = [
        {"interface": "public", "url": "http://p", "region": "R", "id": "1"},
        {"interface": "internal", "url": "http://i", "region": "R", "id": "2"},
    ]
    routes = router()
    catalog = [{"type": "compute", "name": "nova", "id": "s", "endpoints": endpoints}]
    route = routes.get(VALIDATION).respond(json=described(catalog=catalog))

    identity = await keystone(routes, catalog=True).validate(b"t")

    assert route.calls.last.request.url.query == b""
    assert json.loads(identity.catalog or b"") == [
        {
            "type": "compute",
            "name": "nova",
            "endpoints": [{"region": "R", "publicURL": "http://p", "internalURL": "http://i"}],
        }
    ]


@pytest.mark.parametrize("status", [404, 400])
async def test_an_unknown_token_is_rejected(status: int) -> None:
    routes = router()
    routes.get(VALIDATION).respond(status, json={"error": {"code": status}})

    with pytest.raises(TokenRejected):
        await keystone(routes).validate(b"t")


async def test_an_expired_token_is_rejected_unless_expired_ones_are_allowed() -> None:
    routes = router()
    route = routes.get(VALIDATION).respond(json=described(expires_at=AN_HOUR_AGO))
    validator = keystone(routes)

    with pytest.raises(TokenRejected) as rejection:
        await validator.validate(b"t")
    allowed = await validator.validate(b"t", allow_expired=True)

    assert rejection.value.verdict == Rejected("token_expired")
    assert allowed.user_id == "u1"
    assert route.calls.last.request.url.query == b"nocatalog=1&allow_expired=1"


async def test_the_expiry_is_held_against_identitys_own_clock() -> None:
    routes = router()
    date = {"Date": "Fri, 15 Jan 2027 08:01:00 GMT"}
    routes.get(VALIDATION).respond(json=described(), headers=date)

    identity = await keystone(routes).validate(b"t")

    assert identity.expires_at == NOW + 3600 - 60


@pytest.mark.parametrize("url", ["http://keystone.test:5000", "http://keystone.test:5000/v3/"])
async def test_the_version_may_stand_in_the_url_or_not(url: str) -> None:
    from metaproxy.identity.keystone_v3 import KeystoneV3
    from tests.identities import LOGIN, transport

    routes = router()
    routes.get(VALIDATION).respond(json=described())

    validator = KeystoneV3(transport(routes), url, login=LOGIN, wall=FakeClock(NOW))

    assert (await validator.validate(b"t")).user_id == "u1"


@pytest.mark.parametrize(
    ("login", "auth"),
    [
        (
            Password(
                username="m",
                password="pw",
                user_domain_name="D",
                project_name="s",
                project_domain_id="default",
            ),
            {
                "identity": {
                    "methods": ["password"],
                    "password": {"user": {"name": "m", "domain": {"name": "D"}, "password": "pw"}},
                },
                "scope": {"project": {"name": "s", "domain": {"id": "default"}}},
            },
        ),
        (
            Password(user_id="u", password="pw", project_id="p"),
            {
                "identity": {"methods": ["password"], "password": {"user": {"id": "u", "password": "pw"}}},
                "scope": {"project": {"id": "p"}},
            },
        ),
        (
            Password(user_id="u", password="pw", system_scope=True),
            {
                "identity": {"methods": ["password"], "password": {"user": {"id": "u", "password": "pw"}}},
                "scope": {"system": {"all": True}},
            },
        ),
        (
            Password(user_id="u", password="pw"),
            {"identity": {"methods": ["password"], "password": {"user": {"id": "u", "password": "pw"}}}},
        ),
        (
            ApplicationCredential("c", "secret"),
            {
                "identity": {
                    "methods": ["application_credential"],
                    "application_credential": {"id": "c", "secret": "secret"},
                }
            },
        ),
    ],
)
async def test_the_login_is_written_as_keystone_reads_it(login: Any, auth: dict[str, Any]) -> None:
    routes = router()

    await keystone(routes, login=login).start()

    assert json.loads(routes.calls.last.request.content) == {"auth": auth}


async def test_a_dead_service_token_is_renewed_once_and_the_question_repeated() -> None:
    routes = router()
    routes.post(url__startswith=VALIDATION).mock(side_effect=[issued("old"), issued("new")])
    route = routes.get(VALIDATION).mock(
        side_effect=[httpx.Response(401), httpx.Response(200, json=described())]
    )

    identity = await keystone(routes).validate(b"t")

    assert identity.user_id == "u1"
    assert [call.request.headers["x-auth-token"] for call in route.calls] == ["old", "new"]


async def test_a_new_service_token_that_is_refused_is_trouble_not_a_verdict() -> None:
    routes = router()
    routes.post(url__startswith=VALIDATION).mock(side_effect=[issued("old"), issued("new")])
    routes.get(VALIDATION).respond(401)

    with pytest.raises(IdentityUnavailable) as error:
        await keystone(routes).validate(b"t")
    assert error.value.trouble is Trouble.LOGIN_REFUSED


async def test_revocation_events_are_read() -> None:
    routes = router()
    events = [{"user_id": "u1", "issued_before": AN_HOUR_AGO}, {"audit_id": "a"}]
    route = routes.get(f"{KEYSTONE}/OS-REVOKE/events").respond(json={"events": events})

    found = await keystone(routes).revocation_events(datetime(2027, 1, 15, 7, 58, tzinfo=UTC))

    assert route.calls.last.request.url.params["since"] == "2027-01-15T07:58:00Z"
    assert [(event.user_id, event.audit_id) for event in found or ()] == [("u1", None), (None, "a")]


async def test_a_keystone_without_revocation_events_is_told_apart() -> None:
    routes = router()
    routes.get(f"{KEYSTONE}/OS-REVOKE/events").respond(404)

    assert await keystone(routes).revocation_events(datetime(2027, 1, 15, tzinfo=UTC)) is None
