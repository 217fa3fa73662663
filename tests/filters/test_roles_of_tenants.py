"""Tokens with roles in several tenants, over real sockets: first and remembered requests decide alike."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from metaproxy.app import Application, create_app
from metaproxy.config import load_config
from metaproxy.server.protocol import EdgeProtocol
from metaproxy.server.serving import edge_of
from tests.unit.forward.scripted import Peer, upstream

LOGIN = {"access": {"token": {"id": "ours", "expires": "2096-01-01T00:00:00Z"}, "user": {"id": "m"}}}
HOLDERS: dict[str, tuple[str, list[tuple[str, str | None]]]] = {
    "creator-of-p1": ("p1", [("nova:creator", "p1"), ("nova:observer", "p9")]),
    "creator-of-p9": ("p1", [("nova:observer", "p1"), ("nova:creator", "p9")]),
    "admin-of-p1": ("p9", [("nova:observer", "p9"), ("admin", "p1")]),
    "admin-of-all": ("p9", [("nova:creator", "p9"), ("admin", None)]),
    "gold-in-p1": ("p1", [("gold", "p1"), ("nova:observer", "p9")]),
}
"""Each token's own tenant, and its user's roles with the tenants that they were given for."""

SECTIONS = """
server: {listen: 127.0.0.1:0}
logging: {access: false}
upstream: {targets: ['%s']}
identity: {provider: keystone-v2, url: '%s/v2.0', login: {username: m, password: p}}
authorization:
  rules: [{path: '/v2/{tenant_id}/servers/**', methods: [DELETE], roles: ['nova:creator']}]
limits:
  rates:
    - {name: few, path: '/v2/{tenant_id}/images/**', rate: 1/day}
    - {name: many, path: '/v2/{tenant_id}/images/**', rate: 100/day, groups: [gold]}
"""
CACHE = "cache: {routes: [{path: '/v2/{tenant_id}/flavors/{id}', ttl: 60s}]}\n"


def document(token: str) -> dict[str, Any]:
    """Return what identity says of ``token``."""
    own, given = HOLDERS[token]
    roles = [{"name": name} | ({} if tenant is None else {"tenantId": tenant}) for name, tenant in given]
    said = {"id": token, "expires": "2096-01-01T00:00:00Z", "tenant": {"id": own}}
    return {"access": {"token": said, "user": {"id": f"u-{token}", "name": token, "roles": roles}}}


async def keystone(peer: Peer) -> None:
    """Know the tokens of ``HOLDERS``."""
    while True:
        head = await peer.head()
        if length := re.search(rb"(?i)content-length: (\d+)", head):
            await peer.reader.readexactly(int(length[1]))
        asked = re.search(rb"/tokens/(\S+)", head)
        await peer.send(_answer(document(asked[1].decode()) if asked else LOGIN))


async def nova(peer: Peer) -> None:
    """Answer with the header fields of the request."""
    while True:
        lines = (await peer.head()).decode("latin-1").split("\r\n")[1:-2]
        await peer.send(
            _answer({name.lower(): value for name, value in (line.split(": ") for line in lines)})
        )


def _answer(said: dict[str, Any]) -> bytes:
    body = json.dumps(said).encode()
    fields = b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    return b"HTTP/1.1 200 OK\r\n" + fields + body


class Proxy:
    """An application behind a listener, and one connection to it."""

    def __init__(self, folder: Path, text: str) -> None:
        self._path = folder / "metaproxy.yaml"
        self._text = text
        self._reloads = 0
        self.application = self._made(None)

    def _made(self, previous: Application | None) -> Application:
        edits = f"headers: {{response: {{set: [{{name: X-Reloads, value: '{self._reloads}'}}]}}}}\n"
        self._path.write_text(self._text + edits)
        return create_app(load_config(self._path, environ={}), previous)

    async def reload(self) -> None:
        """Take another configuration into use, whose authorization is the same."""
        self._reloads += 1
        former, self.application = self.application, self._made(self.application)
        await self.application.start()
        self.application.take_over()
        await former.close()
        await self.hang_up()
        await self.connect()

    async def connect(self) -> None:
        """Listen, and open the connection."""
        edge = edge_of(self.application)
        edge.fast_lane = self.application.fast_lane()
        settings = uvicorn.Config(self.application, lifespan="off", log_config=None, ws="none")
        settings.load()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: EdgeProtocol(settings, ServerState(), {}, loop, edge=edge), "127.0.0.1", 0
        )
        port = self._server.sockets[0].getsockname()[1]
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", port)

    async def hang_up(self) -> None:
        """Close the connection, and listen no more."""
        self._writer.close()
        await self._writer.wait_closed()
        self._server.close()

    async def ask(self, token: str, path: str, method: str = "GET") -> tuple[int, dict[str, str]]:
        """Return the status of an answer and what the upstream was told."""
        request = f"{method} {path} HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {token}\r\n\r\n"
        self._writer.write(request.encode())
        async with asyncio.timeout(60):
            head = await self._reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", head)
            body = await self._reader.readexactly(int(length[1]) if length else 0)
        status = int(head.split()[1])
        return status, json.loads(body) if status == 200 else {}

    async def roles(self, token: str, path: str, method: str = "GET") -> str:
        """Return the status, the project and the roles that the upstream was told, in one text."""
        status, told = await self.ask(token, path, method)
        return f"{status} {told.get('x-project-id')} {told.get('x-roles')}" if told else str(status)


@pytest.fixture(params=["", CACHE], ids=["without cache", "with cache"])
async def proxy(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Proxy]:
    async with upstream(keystone) as identity, upstream(nova) as origin:
        proxy = Proxy(tmp_path, SECTIONS % (origin.origin, identity.origin) + request.param)
        await proxy.application.start()
        await proxy.connect()
        yield proxy
        await proxy.hang_up()
        await proxy.application.close()


DECISIONS = [
    ("creator-of-p1", "DELETE", "/v2/p1/servers/1", "200 p1 nova:creator"),
    ("creator-of-p1", "DELETE", "/v2/p9/servers/1", "403"),
    ("creator-of-p1", "DELETE", "/v2/servers/1", "200 p1 nova:creator"),
    ("creator-of-p1", "DELETE", "/p9/servers/1.json", "403"),
    ("creator-of-p1", "GET", "/v2/p9/servers/1", "200 p9 nova:observer"),
    ("creator-of-p1", "GET", "/v2/p1/servers/1", "200 p1 nova:creator"),
    ("creator-of-p1", "GET", "/v2/p5/servers/1", "403"),
    ("creator-of-p9", "DELETE", "/v2/p9/servers/1", "200 p9 nova:creator"),
    ("creator-of-p9", "DELETE", "/v2/p1/servers/1", "403"),
    ("creator-of-p9", "DELETE", "/v2/servers/1", "403"),
    ("admin-of-p1", "GET", "/v2/p5/servers/1", "403"),
    ("admin-of-p1", "GET", "/v2/p1/servers/1", "200 p1 admin"),
    ("admin-of-p1", "GET", "/v2/p9/servers/1", "200 p9 nova:observer"),
    ("admin-of-all", "GET", "/v2/p5/servers/1", "200 p9 admin"),
    ("admin-of-all", "DELETE", "/v2/p5/servers/1", "403"),
    ("admin-of-all", "DELETE", "/v2/p9/servers/1", "200 p9 nova:creator,admin"),
]


async def test_a_role_counts_in_its_tenant_alone_first_and_remembered(proxy: Proxy) -> None:
    for _ in range(4):
        for token, method, path, expected in DECISIONS:
            for _ in range(2):
                assert await proxy.roles(token, path, method) == expected, (token, method, path)


async def test_a_reload_changes_nothing_in_it(proxy: Proxy) -> None:
    for _ in range(3):
        for token, method, path, expected in DECISIONS:
            assert await proxy.roles(token, path, method) == expected, (token, method, path)
        await proxy.reload()


async def test_a_rate_for_a_role_is_lifted_in_the_tenant_of_the_role_alone(proxy: Proxy) -> None:
    first = [(await proxy.ask("gold-in-p1", "/v2/p1/images/1"))[0] for _ in range(4)]
    other = [(await proxy.ask("gold-in-p1", "/v2/p9/images/1"))[0] for _ in range(4)]
    again = [(await proxy.ask("gold-in-p1", "/v2/p1/images/1"))[0] for _ in range(2)]

    assert (first, other, again) == ([200] * 4, [200, 413, 413, 413], [200] * 2)


async def test_answers_are_stored_for_the_roles_that_count(proxy: Proxy) -> None:
    paths = [f"/v2/{tenant}/flavors/1" for tenant in ("p1", "p9")] * 3

    told = [await proxy.roles("creator-of-p1", path) for path in paths]

    assert told == ["200 p1 nova:creator", "200 p9 nova:observer"] * 3
