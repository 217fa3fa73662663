"""What the tests of the limit stages share: a clock, an upstream, and a line that knows who asks."""

import json
from collections.abc import Iterable
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from metaproxy.asgi import Stage
from metaproxy.exchange import Exchange, Identity
from metaproxy.protocol.limits.rates import RateRule
from tests.unit.store.charges import per

EPOCH = 1_795_608_000.0  # 2026-11-25T12:00:00Z
ITEM = "/v2.1/p1/images/i1/metadata/label"


class FakeClock:
    """A clock that a test moves by hand."""

    def __init__(self, seconds: float = 1000.0) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return self.seconds

    def advance(self, seconds: float) -> None:
        self.seconds += seconds


class Upstream:
    """Answers every request alike, and keeps the scopes that reached it."""

    def __init__(
        self, body: bytes = b"{}", status: int = 200, headers: Iterable[tuple[bytes, bytes]] = ()
    ) -> None:
        self.body, self.status = body, status
        self.headers = [(b"content-type", b"application/json"), *headers]
        self.scopes: list[Scope] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body})


class Identified(Stage):
    """Stands for the stages before: ``x-project``, ``x-user``, ``x-roles`` and ``x-groups`` say who asks."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def handle(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        said = {name.decode(): value.decode() for name, value in scope["headers"]}
        if "x-project" in said or "x-user" in said:
            exchange.identity = Identity(
                project_id=said.get("x-project", ""),
                user_id=said.get("x-user", ""),
                roles=tuple(said.get("x-roles", "").split()),
                groups=tuple((name, 1.0) for name in said.get("x-groups", "").split()),
            )
        await self.app(scope, receive, send)


def rate(name: str = "reads", limit: int = 2, period_seconds: int = 60, **more: Any) -> RateRule:
    """Return a rule with defaults: two requests a minute and project, on every path."""
    return RateRule(name=name, rate=per(period_seconds, limit), **more)


def body_of(answer: Any) -> Any:
    """Return the parsed JSON body of ``answer``."""
    return json.loads(answer.body)
