"""KeystoneV3 and the stage over it, against a real Keystone."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from metaproxy.filters.authenticate import Authenticate
from metaproxy.forward.transport import UpstreamTransport
from metaproxy.identity.cached import CachedValidator
from metaproxy.identity.keystone_v3 import ApplicationCredential, KeystoneV3, Password
from metaproxy.identity.revocation_events import RevocationEventPolling
from metaproxy.identity.troubles import IdentityUnavailable, Trouble
from metaproxy.identity.validator import Rejected, TokenRejected
from metaproxy.telemetry.metrics import Metrics
from tests.asgi_driver import drive
from tests.keystone.cloud import DEFAULT, URL
from tests.keystone.conftest import PASSWORD, Deployment

SERVICE = Password(
    username="metaproxy",
    password=PASSWORD,
    user_domain_name="Default",
    project_name="service",
    project_domain_name="Default",
)


class Recorder(httpx.AsyncHTTPTransport):
    """Keeps every request that it carries."""

    requests: list[httpx.Request]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return await super().handle_async_request(request)


def recorder(keystone: Deployment) -> Recorder:
    transport = Recorder(uds=keystone.socket)
    transport.requests = []
    return transport


def validator(keystone: Deployment, login: Any = SERVICE, **arguments: Any) -> KeystoneV3:
    return KeystoneV3(recorder(keystone), URL, login=login, timeout=300, **arguments)


@pytest.fixture
async def asking(keystone: Deployment) -> AsyncIterator[KeystoneV3]:
    asking = validator(keystone)
    yield asking
    await asking.close()


async def test_a_project_token(keystone: Deployment, asking: KeystoneV3) -> None:
    identity = await asking.validate(keystone.token().encode())

    assert (identity.user_id, identity.user_name) == (keystone.alice_id, "alice")
    assert (identity.user_domain_id, identity.user_domain_name) == ("default", "Default")
    assert (identity.project_id, identity.project_name) == (keystone.project_id, "one")
    assert (identity.project_domain_id, identity.project_domain_name) == ("default", "Default")
    assert set(identity.roles) == {"member", "reader"}
    assert identity.audit_ids
    assert identity.catalog is None


async def test_over_the_engine_that_the_proxy_uses(keystone: Deployment) -> None:
    transport = UpstreamTransport(name="identity")
    asking = KeystoneV3(transport, f"http://127.0.0.1:{keystone.port}", login=SERVICE, timeout=300)
    token = keystone.token()
    assert (await asking.validate(token.encode())).user_name == "alice"

    keystone.cloud.revoke(token)

    with pytest.raises(TokenRejected):
        await asking.validate(token.encode())
    await asking.close()


async def test_a_domain_token(keystone: Deployment, asking: KeystoneV3) -> None:
    token = keystone.cloud.log_in("alice", PASSWORD, {"domain": DEFAULT})

    identity = await asking.validate(token.encode())

    assert (identity.domain_id, identity.domain_name, identity.project_id) == ("default", "Default", "")
    assert identity.roles == ("reader",)


async def test_a_system_token(keystone: Deployment, asking: KeystoneV3) -> None:
    token = keystone.cloud.log_in("admin", "admin-password", {"system": {"all": True}})

    identity = await asking.validate(token.encode())

    assert (identity.system_scope, identity.project_id) == ("all", "")
    assert "admin" in identity.roles


async def test_an_unscoped_token(keystone: Deployment, asking: KeystoneV3) -> None:
    token = keystone.cloud.log_in("alice", PASSWORD, "unscoped")

    identity = await asking.validate(token.encode())

    assert (identity.user_name, identity.project_id, identity.domain_id, identity.roles) == (
        "alice",
        "",
        "",
        (),
    )


async def test_the_catalog_on_demand(keystone: Deployment) -> None:
    asking = validator(keystone, catalog=True)

    identity = await asking.validate(keystone.token().encode())

    [service] = json.loads(identity.catalog or b"")
    assert service["type"] == "identity"
    assert service["endpoints"][0]["publicURL"] == URL
    await asking.close()


@pytest.mark.parametrize(
    "token",
    [b"nonsense", b"gAAAAABn" + b"x" * 180, b"0" * 32, b"../users", b"a" * 4096, b"a" * 9000, b"a" * 16384],
)
async def test_what_was_never_a_token_is_rejected(asking: KeystoneV3, token: bytes) -> None:
    with pytest.raises(TokenRejected):
        await asking.validate(token)


async def test_a_revoked_token_is_rejected(keystone: Deployment, asking: KeystoneV3) -> None:
    token = keystone.token()
    await asking.validate(token.encode())

    keystone.cloud.revoke(token)

    with pytest.raises(TokenRejected):
        await asking.validate(token.encode())


async def test_a_disabled_users_token_is_rejected(keystone: Deployment, asking: KeystoneV3) -> None:
    user_id = keystone.cloud.user("bob", PASSWORD, member=f"projects/{keystone.project_id}")
    token = keystone.token("bob").encode()
    await asking.validate(token)

    keystone.cloud.call("PATCH", f"/users/{user_id}", {"user": {"enabled": False}})

    with pytest.raises(TokenRejected):
        await asking.validate(token)


async def test_login_by_application_credential(keystone: Deployment) -> None:
    own = keystone.cloud.log_in("metaproxy", PASSWORD, {"project": {"name": "service", "domain": DEFAULT}})
    login = ApplicationCredential(*keystone.cloud.application_credential(keystone.service_user_id, own))
    asking = validator(keystone, login)

    assert (await asking.validate(keystone.token().encode())).user_name == "alice"
    await asking.close()


async def test_a_wrong_password_is_a_refused_login(keystone: Deployment) -> None:
    asking = validator(keystone, Password(username="metaproxy", password="wrong", user_domain_name="Default"))

    with pytest.raises(IdentityUnavailable) as error:
        await asking.start()

    assert error.value.trouble is Trouble.LOGIN_REFUSED
    await asking.close()


async def test_a_service_user_without_the_right_to_validate_is_trouble_not_a_verdict(
    keystone: Deployment,
) -> None:
    login = Password(
        username="alice", password=PASSWORD, user_domain_name="Default", project_id=keystone.project_id
    )
    asking = validator(keystone, login)

    with pytest.raises(IdentityUnavailable) as error:
        await asking.validate(keystone.token("nova").encode())

    assert error.value.trouble is Trouble.FORBIDDEN
    await asking.close()


async def test_a_service_token_that_was_revoked_is_renewed(keystone: Deployment) -> None:
    metrics, transport = Metrics(), recorder(keystone)
    asking = KeystoneV3(transport, URL, login=SERVICE, timeout=300, metrics=metrics)
    await asking.validate(keystone.token().encode())

    keystone.cloud.revoke(transport.requests[-1].headers["x-auth-token"])

    assert (await asking.validate(keystone.token().encode())).user_name == "alice"
    calls = metrics.counter("metaproxy_identity_calls", "").values
    assert calls == {("login", "ok"): 2, ("validate", "ok"): 2}
    await asking.close()


async def expired(keystone: Deployment, asking: KeystoneV3) -> bytes:
    """Return a token of alice's that has just expired."""
    token = keystone.brief.log_in("alice", PASSWORD, {"project": {"id": keystone.project_id}}).encode()
    while True:
        try:
            await asking.validate(token)
        except TokenRejected:
            return token
        await asyncio.sleep(0.1)


async def test_an_expired_token_is_described_where_that_is_allowed(
    keystone: Deployment, asking: KeystoneV3
) -> None:
    token = await expired(keystone, asking)

    assert (await asking.validate(token, allow_expired=True)).user_name == "alice"


async def test_a_service_carries_on_with_an_expired_token(keystone: Deployment, asking: KeystoneV3) -> None:
    token = await expired(keystone, asking)
    told: list[dict[bytes, bytes]] = []

    async def upstream(scope: Any, _receive: Any, send: Any) -> None:
        told.append(dict(scope["headers"]))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    stage = Authenticate(upstream, validator=CachedValidator(asking), advertise=URL, accept_expired=True)
    own = [("x-auth-token", token)]

    alone = await drive(stage, "GET", "/images", headers=own)
    carried = await drive(
        stage, "GET", "/images", headers=[*own, ("x-service-token", keystone.token("nova"))]
    )

    assert (alone.status, carried.status) == (401, 200)
    assert (told[0][b"x-user-name"], told[0][b"x-service-user-name"]) == (b"alice", b"nova")


async def test_revocation_events(keystone: Deployment, asking: KeystoneV3) -> None:
    cache = CachedValidator(asking)
    token, other = keystone.token(), keystone.token("nova").encode()
    await cache.resolve(token.encode())
    await cache.resolve(other)
    polling = RevocationEventPolling(asking, cache)

    keystone.cloud.revoke(token)
    offered = await polling.poll()

    assert offered
    assert cache.known(token.encode()) is None
    assert cache.known(other) is not None
    assert await cache.resolve(token.encode()) in (Rejected("token_unknown"), Rejected("token_revoked"))
