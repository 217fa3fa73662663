"""Whole lines that share tokens in a real Redis, in front of a Keystone on a socket that counts questions."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from functools import wraps
from hashlib import sha256
from pathlib import Path
from typing import Any

from starlette.types import Receive, Scope, Send
from structlog.testing import capture_logs

from metaproxy.app import Application, create_app
from tests.asgi_driver import Answer, drive
from tests.identities import described
from tests.redis_server import RedisServer
from tests.unit.assembly.configured import config
from tests.unit.forward.scripted import Peer, upstream

LATER, FAR_AWAY = "2095-01-01T00:00:00Z", "2096-01-01T00:00:00Z"
KEY, OTHER_KEY = sha256(b"a key").hexdigest(), sha256(b"another key").hexdigest()
V3 = "provider: keystone-v3, login: {username: m, password: p, user_domain_name: Default}"
V2 = "provider: keystone-v2, login: {username: m, password: p}"
RULES = [{"id": "r1", "service": "compute", "method": "GET", "path": "/v2.1/p1/allowed"}]


class Keystone:
    """Describes every token as one of the user ``user-TOKEN`` in the project p1.

    Tokens that begin with ``service`` have the role service, those with ``rules`` may read one path, those
    with ``late`` have expired. ``asked`` counts questions by token.
    """

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.gone: set[str] = set()
        self.events: list[dict[str, str]] | None = None
        self.origin = ""

    @asynccontextmanager
    async def served(self) -> AsyncIterator[None]:
        """Answer on a socket, at ``origin``."""
        async with upstream(self) as running:
            self.origin = running.origin
            yield

    @property
    def questions(self) -> int:
        """How often it was asked about a token."""
        return sum(self.asked.values())

    async def __call__(self, peer: Peer) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await self._answer(peer, await peer.head())

    async def _answer(self, peer: Peer, head: bytes) -> None:
        target = head.split(b" ", 2)[1].decode()
        if head.startswith(b"POST"):
            length = re.search(rb"(?i)content-length: *(\d+)", head)
            await peer.reader.readexactly(int(length[1]) if length else 0)
            access = {"token": {"id": "ours", "expires": FAR_AWAY}}
            issued = {"token": {"expires_at": FAR_AWAY}, "access": access}
            await peer.send(_http(201 if target.startswith("/v3") else 200, issued, "X-Subject-Token: ours"))
        elif "/OS-REVOKE/" in target:
            events = {"events": self.events}
            await peer.send(_http(404, {}) if self.events is None else _http(200, events))
        else:
            subject = re.search(rb"(?i)x-subject-token: *(\S+)", head)
            token = subject[1].decode() if subject else target.rpartition("/")[2]
            self.asked[token] += 1
            has_expired = token.startswith("late") and "allow_expired=1" not in target
            if token in self.gone or has_expired:
                await peer.send(_http(404, {"error": {"code": 404, "title": "Not Found", "message": "-"}}))
            else:
                await peer.send(_http(200, _v3(token) if target.startswith("/v3") else _v2(token)))


def _v3(token: str) -> dict[str, Any]:
    role = "service" if token.startswith("service") else "member"
    changes: dict[str, Any] = {
        "user": {"id": f"user-{token}", "name": token, "domain": {"id": "default", "name": "Default"}},
        "roles": [{"id": "r1", "name": role}],
        "audit_ids": [f"audit-{token}"],
        "expires_at": LATER,
    }
    if token.startswith("rules"):
        changes["application_credential"] = {"id": "c1", "restricted": True, "access_rules": RULES}
    return described(**changes)


def _v2(token: str) -> dict[str, Any]:
    tenant = {"id": "p1", "name": "one"}
    user = {"id": f"user-{token}", "name": token, "roles": [{"name": "member", "tenantId": "p1"}]}
    return {"access": {"token": {"id": token, "expires": LATER, "tenant": tenant}, "user": user}}


def _http(status: int, body: object, *fields: str) -> bytes:
    content = json.dumps(body).encode()
    head = [f"HTTP/1.1 {status} Reason", f"Content-Length: {len(content)}", *fields]
    return ("\r\n".join(head) + "\r\n\r\n").encode() + content


class Compute:
    """Answers everything, and keeps the fields of the last request."""

    def __init__(self) -> None:
        self.fields: dict[bytes, bytes] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.fields = dict(scope["headers"])
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"{}"})


class Line:
    """One replica: an application that is started and stopped."""

    def __init__(self, folder: Path, keystone: str, store: str) -> None:
        self._folder, self._keystone, self._store = folder, keystone, store
        self.compute = Compute()
        self.application: Application | None = None

    async def start(self, *keys: str, provider: str = V3, options: str = "") -> None:
        """Start a process of this replica, or take another configuration into use where one runs."""
        version = "v3" if "v3" in provider else "v2.0"
        shared = f"shared_tokens: {{keys: {[*keys]}}}" + (options and f", {options}")
        said = config(
            self._folder,
            f"identity: {{{provider}, url: '{self._keystone}/{version}', {shared}}}",
            f"store: {{url: '{self._store}', timeout: 2s}}",
            "logging: {access: false}",
        )
        former = self.application
        self.application = create_app(said, former, answering=self.compute)
        await self.application.start()
        if former is not None:
            self.application.take_over()
            await former.close()

    async def stop(self) -> None:
        """End the process."""
        if self.application is not None:
            await self.shared_written()
            await self.application.close()
            self.application = None

    async def status(self, token: str, path: str = "/v2.1/p1/allowed", *, service: str = "") -> int:
        """Return the status of a request with ``token``."""
        return (await self.ask(token, path, service=service)).status

    async def ask(self, token: str, path: str = "/v2.1/p1/allowed", *, service: str = "") -> Answer:
        """Send a request with ``token``; what it has shared is stored when this returns."""
        assert self.application is not None
        fields = [("host", "a"), ("x-auth-token", token)]
        answer = await drive(
            self.application, "GET", path, [*fields, *([("x-service-token", service)] if service else [])]
        )
        await self.shared_written()
        return answer

    async def shared_written(self) -> None:
        assert self.application is not None
        authenticate = self.application.authenticate
        if authenticate is not None and authenticate.validator.shared is not None:
            await authenticate.validator.shared.written()

    def look_ups(self) -> dict[str, float]:
        """Return the numbers of look-ups by their result."""
        assert self.application is not None
        counter = self.application.metrics.counter("metaproxy_shared_token_lookups", "")
        return {labels[0]: value for labels, value in counter.values.items() if value}


@asynccontextmanager
async def lines(folder: Path, keystone: str, store: str, number: int) -> AsyncIterator[list[Line]]:
    """Run ``number`` replicas, which share under KEY, one started after the other."""
    made: list[Line] = []
    try:
        for each in range(number):
            own = folder / str(each)
            own.mkdir()
            made.append(Line(own, keystone, store))
            await made[-1].start(KEY)
        yield made
    finally:
        for line in made:
            await line.stop()


def undisturbed(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Run ``test`` again if it failed and the machine was so busy that a replica lost touch with the others.

    What is shared counts no more then, so that identity is asked once more.
    """

    @wraps(test)
    async def run(redis: RedisServer, keystone: Keystone, tmp_path: Path, **arguments: Any) -> None:
        for attempt in range(6):
            folder = tmp_path / str(attempt)
            folder.mkdir()
            keystone.asked.clear()
            keystone.gone, keystone.events = set(), None
            with redis.client() as client:
                client.flushall()
            with capture_logs() as logs:
                try:
                    return await test(redis, keystone, folder, **arguments)
                except AssertionError:
                    if attempt == 5 or not any("lost" in line["event"] for line in logs):
                        raise
        return None

    return run


async def statuses(line: Line, tokens: Iterable[str]) -> set[int]:
    """Return the statuses of requests with ``tokens``, which come all at once."""
    return set(await asyncio.gather(*(line.status(token) for token in tokens)))
