"""A stage in somebody's own application, with a real Keystone behind it and nobody who starts it."""

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from metaproxy import (
    Authenticate,
    Forward,
    Guard,
    KeystoneV3,
    Password,
    Trace,
    UpstreamTransport,
    exchange_of,
)
from metaproxy.demo.world import ALICE, METAPROXY
from tests.asgi_driver import drive
from tests.e2e.deployment import ITEM, requests_seen

pytestmark = pytest.mark.e2e


def keystone(url: str, transport: UpstreamTransport) -> KeystoneV3:
    login = Password(
        username=METAPROXY.name,
        password=METAPROXY.password,
        user_domain_name="Default",
        project_name=METAPROXY.project.name,
        project_domain_name="Default",
    )
    return KeystoneV3(transport, f"{url}/v3", login=login)


async def test_a_token_is_validated_once_without_anybody_having_started_the_stage(identity: str) -> None:
    async def who(request: Request) -> PlainTextResponse:
        caller = exchange_of(request.scope).identity
        return PlainTextResponse(caller.user_name if caller else "nobody")

    transport = UpstreamTransport()
    validator = keystone(identity, transport)
    app = Starlette(routes=[Route("/who", who)], middleware=[Middleware(Authenticate, validator=validator)])
    headers = [("X-Auth-Token", ALICE.token)]
    assert (await drive(app, "GET", "/who", headers)).body == b"alice"
    seen = requests_seen(identity)
    assert (await drive(app, "GET", "/who", headers)).body == b"alice"
    assert requests_seen(identity) == seen
    assert (await drive(app, "GET", "/who", [("X-Auth-Token", "unknown")])).status == 401
    await validator.close()


async def test_a_small_reverse_proxy_is_three_stages(identity: str, compute: str) -> None:
    validator = keystone(identity, UpstreamTransport())
    forward = Forward(UpstreamTransport(), targets=[compute])
    app = Trace(Guard(Authenticate(forward, validator=validator)))
    answer = await drive(app, "GET", ITEM, [("Host", "compute"), ("X-Auth-Token", ALICE.token)])
    assert (answer.status, answer.body) == (200, b'{"meta": {"label": "Updated"}}')
    await forward.close()
    await validator.close()
