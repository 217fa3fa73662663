"""Access rules of application credentials over the whole line, with a Keystone on a real socket."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from metaproxy.app import Application, create_app
from metaproxy.config import Config, load_config
from tests.asgi_driver import Answer, drive
from tests.unit.assembly.configured import config
from tests.unit.identity.served import a_keystone, bound, serving, url_of

RULES = [
    {"service": "compute", "method": "GET", "path": "/v2.1/servers/*"},
    {"service": "image", "method": "GET", "path": "/v2.1/images/*"},
]
IDENTITY = """
identity:
  provider: keystone-v3
  url: {url}
  login: {{username: m, password: p, user_domain_name: Default}}
  service_type: {service_type}
"""
MOUNTED = "upstream: {targets: [http://127.0.0.1:9], strip_prefix: /compute}"


async def upstream(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def started(configured: Config, previous: Application | None = None) -> AsyncIterator[Application]:
    app = create_app(configured, previous, answering=upstream)
    await app.start()
    if previous is not None:
        app.take_over()
    try:
        yield app
    finally:
        await app.close()


async def ask(app: Application, path: str, method: str = "GET") -> Answer:
    return await drive(app, method, path, headers=[("x-auth-token", "bound")])


def configured(folder: Path, url: str, service_type: str = "compute", *sections: str) -> Config:
    return config(folder, IDENTITY.format(url=url, service_type=service_type), *sections)


async def test_each_request_is_judged_and_identity_is_asked_once(tmp_path: Path) -> None:
    asked: list[bytes] = []
    held = bound()
    keystone = a_keystone(asked, application_credential={"access_rules": RULES})

    async with serving(keystone, held), started(configured(tmp_path, url_of(held))) as app:
        for _ in range(3):
            assert (await ask(app, "/v2.1/servers/1")).status == 200
            assert (await ask(app, "/v2.1/servers/1", "DELETE")).status == 401
            assert (await ask(app, "/v2.1/images/1")).status == 401
            assert (await ask(app, "/v2/servers/1")).status == 401

    [head] = asked
    assert b"openstack-identity-access-rules: 1.0" in head.lower()


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/compute/v2.1/servers/1", 200),
        ("/compute/v2.1/servers/1/action", 401),
        ("/compute/v2.1/images/1", 401),
        ("/compute/compute/v2.1/servers/1", 401),
    ],
)
async def test_the_path_is_judged_without_the_prefix(tmp_path: Path, path: str, status: int) -> None:
    held = bound()
    keystone = a_keystone(application_credential={"access_rules": RULES})
    file = tmp_path / "metaproxy.yaml"
    identity = IDENTITY.format(url=url_of(held), service_type="compute")
    file.write_text(f"server: {{listen: 127.0.0.1:0}}\n{MOUNTED}\n{identity}")

    async with serving(keystone, held), started(load_config(file)) as app:
        assert [(await ask(app, path)).status for _ in range(3)] == [status] * 3


async def test_a_reload_judges_by_its_own_service(tmp_path: Path) -> None:
    held = bound()
    keystone = a_keystone(application_credential={"access_rules": RULES})

    async with serving(keystone, held), started(configured(tmp_path, url_of(held))) as app:
        assert (await ask(app, "/v2.1/servers/1")).status == 200
        async with started(configured(tmp_path, url_of(held), "image"), app) as successor:
            assert (await ask(successor, "/v2.1/servers/1")).status == 401
            assert (await ask(successor, "/v2.1/images/1")).status == 200
            async with started(configured(tmp_path, url_of(held), "null"), successor) as last:
                assert (await ask(last, "/v2.1/servers/1")).status == 401
                assert (await ask(last, "/v2.1/images/1")).exchange.reason == "access_rules_not_judged"


async def test_a_reload_of_something_else_keeps_the_rules(tmp_path: Path) -> None:
    asked: list[bytes] = []
    held = bound()
    keystone = a_keystone(asked, application_credential={"access_rules": RULES})

    async with serving(keystone, held):
        first = configured(tmp_path, url_of(held))
        async with started(first) as app:
            await ask(app, "/v2.1/servers/1")
            again = configured(tmp_path, url_of(held), "compute", "via: {pseudonym: other}")
            async with started(again, app) as successor:
                assert (await ask(successor, "/v2.1/servers/1")).status == 200
                assert (await ask(successor, "/v2.1/images/1")).status == 401

    assert len(asked) == 1
