"""Application credentials with access rules, made and described by a real Keystone, over the whole line."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from metaproxy.app import create_app
from metaproxy.config import load_config
from metaproxy.filters.authenticate import Authenticate
from metaproxy.identity.cached import CachedValidator
from metaproxy.identity.keystone_v3 import ApplicationCredential, KeystoneV3
from metaproxy.identity.validator import TokenRejected
from tests.asgi_driver import drive
from tests.keystone.cloud import URL
from tests.keystone.conftest import PASSWORD, Deployment
from tests.keystone.test_keystone_v3 import SERVICE

RULES = [
    {"service": "compute", "method": "GET", "path": "/v2.1/servers"},
    {"service": "compute", "method": "GET", "path": "/v2.1/servers/*/metadata/**"},
    {"service": "compute", "method": "POST", "path": "/v2.1/{project_id}/servers"},
    {"service": "image", "method": "GET", "path": "/v2/images"},
]
"""Access rules as their owner writes them."""


def bound_token(keystone: Deployment, name: str, rules: list[dict[str, str]]) -> str:
    """Return a token of a new application credential of alice's with access rules."""
    credential = keystone.cloud.application_credential(
        keystone.alice_id, keystone.token(), name, access_rules=rules
    )
    return keystone.cloud.log_in_with(credential)


async def upstream(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def stage(keystone: Deployment, **arguments: Any) -> AsyncIterator[Authenticate]:
    transport = httpx.AsyncHTTPTransport(uds=keystone.socket)
    validator = CachedValidator(
        KeystoneV3(transport, URL, login=SERVICE, timeout=300, **arguments), probe_interval=3600.0
    )
    yield Authenticate(upstream, validator=validator)
    await validator.close()


async def test_each_request_is_judged_by_the_rules_first_and_remembered(keystone: Deployment) -> None:
    token = bound_token(keystone, "judged", RULES)
    asked = [
        ("GET", "/v2.1/servers", 200),
        ("GET", "/v2.1/servers/s1/metadata/a/b", 200),
        ("POST", f"/v2.1/{keystone.project_id}/servers", 200),
        ("DELETE", "/v2.1/servers", 401),
        ("HEAD", "/v2.1/servers", 401),
        ("GET", "/v2.1/servers/s1", 401),
        ("GET", "/v2/images", 401),  # allowed at another service
        ("GET", f"/v2.1/{keystone.project_id}/servers", 401),
    ]

    async with stage(keystone) as authenticate:
        for _ in range(2):
            for method, path, status in asked:
                answer = await drive(authenticate, method, path, headers=[("x-auth-token", token)])
                assert answer.status == status, (method, path)


async def test_a_service_token_exempts_the_request_that_its_service_makes(keystone: Deployment) -> None:
    headers = [("x-auth-token", bound_token(keystone, "chain", RULES))]
    nova = [*headers, ("x-service-token", keystone.token("nova"))]
    alice = [*headers, ("x-service-token", keystone.token("alice"))]

    async with stage(keystone) as authenticate:
        alone = await drive(authenticate, "GET", "/v2.1/flavors", headers=headers)
        carried = await drive(authenticate, "GET", "/v2.1/flavors", headers=nova)
        of_no_service = await drive(authenticate, "GET", "/v2.1/flavors", headers=alice)

    assert (alone.status, carried.status, of_no_service.status) == (401, 200, 401)


async def test_a_credential_without_access_rules_is_not_restricted(keystone: Deployment) -> None:
    credential = keystone.cloud.application_credential(keystone.alice_id, keystone.token(), "free")
    token = keystone.cloud.log_in_with(credential)

    async with stage(keystone) as authenticate:
        answer = await drive(authenticate, "DELETE", "/v2.1/servers/1", headers=[("x-auth-token", token)])

    assert answer.status == 200


async def test_rules_are_never_believed_where_the_service_is_not_known(keystone: Deployment) -> None:
    token = bound_token(keystone, "unknown", RULES)

    async with stage(keystone, service_type=None) as authenticate:
        answer = await drive(authenticate, "GET", "/v2.1/servers", headers=[("x-auth-token", token)])

    assert (answer.status, answer.exchange.reason) == (401, "access_rules_not_judged")


async def test_our_own_login_may_be_bound_to_validating_tokens(keystone: Deployment) -> None:
    own = keystone.cloud.log_in(
        "metaproxy", PASSWORD, {"project": {"name": "service", "domain": {"id": "default"}}}
    )
    rules = [{"service": "identity", "method": "GET", "path": "/v3/auth/tokens"}]
    credential = keystone.cloud.application_credential(
        keystone.service_user_id, own, "validate-only", access_rules=rules
    )
    transport = httpx.AsyncHTTPTransport(uds=keystone.socket)
    asking = KeystoneV3(transport, URL, login=ApplicationCredential(*credential), timeout=300)

    assert (await asking.validate(keystone.token().encode())).user_name == "alice"
    await asking.close()


CONFIGURATION = """\
server: {{listen: 127.0.0.1:0}}
upstream: {{targets: [http://127.0.0.1:9]}}
identity:
  provider: keystone-v3
  url: http://127.0.0.1:{port}/v3
  timeout: 30s
  login:
    {{username: metaproxy, password: {password}, user_domain_name: Default, project_name: service,
     project_domain_name: Default}}
"""


async def test_the_whole_line_enforces_the_rules_over_its_own_engine(
    keystone: Deployment, tmp_path: Path
) -> None:
    token = bound_token(keystone, "line", RULES)
    file = tmp_path / "metaproxy.yaml"
    file.write_text(CONFIGURATION.format(port=keystone.port, password=PASSWORD))
    app = create_app(load_config(file), answering=upstream)
    await app.start()
    headers = [("x-auth-token", token)]
    try:
        allowed = [await drive(app, "GET", "/v2.1/servers", headers=headers) for _ in range(2)]
        refused = [await drive(app, "DELETE", "/v2.1/servers/1", headers=headers) for _ in range(2)]
    finally:
        await app.close()

    assert [answer.status for answer in (*allowed, *refused)] == [200, 200, 401, 401]


async def test_no_token_without_rules_can_be_made_of_one_with_rules(keystone: Deployment) -> None:
    token = bound_token(keystone, "exchanged", RULES)
    identity = {"methods": ["token"], "token": {"id": token}}
    for scope in ({}, {"scope": {"project": {"id": keystone.project_id}}}, {"scope": "unscoped"}):
        response = keystone.cloud.client.post(
            f"{URL}/auth/tokens", json={"auth": {"identity": identity, **scope}}
        )
        if response.status_code != 201:
            continue
        headers = [("x-auth-token", response.headers["X-Subject-Token"])]
        async with stage(keystone) as authenticate:
            answer = await drive(authenticate, "DELETE", "/v2.1/servers/1", headers=headers)
        assert answer.status == 401


async def test_a_token_whose_credential_was_deleted_is_rejected(keystone: Deployment) -> None:
    credential = keystone.cloud.application_credential(
        keystone.alice_id, keystone.token(), "deleted", access_rules=RULES
    )
    token = keystone.cloud.log_in_with(credential).encode()
    asking = KeystoneV3(httpx.AsyncHTTPTransport(uds=keystone.socket), URL, login=SERVICE, timeout=300)
    assert (await asking.validate(token)).access_rules is not None

    keystone.cloud.call(
        "DELETE",
        f"/users/{keystone.alice_id}/application_credentials/{credential[0]}",
        X_Auth_Token=keystone.token(),
    )

    with pytest.raises(TokenRejected):
        await asking.validate(token)
    await asking.close()
