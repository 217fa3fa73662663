"""Identity services and clocks for tests: five lines each, and no time passes by itself."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import respx

from metaproxy.exchange import Identity
from metaproxy.identity.keystone_v3 import KeystoneV3, Password
from metaproxy.identity.troubles import IdentityUnavailable
from metaproxy.identity.validator import TokenRejected, TokenValidator

NOW = 1_800_000_000.0
"""2027-01-15T08:00:00Z, the wall time of tests."""
IN_AN_HOUR = "2027-01-15T09:00:00.000000Z"
AN_HOUR_AGO = "2027-01-15T07:00:00.000000Z"

KEYSTONE = "http://keystone.test:5000/v3"
LOGIN = Password(
    username="metaproxy",
    password="service-password",
    user_domain_name="Default",
    project_name="service",
    project_domain_name="Default",
)
ALICE = Identity(user_id="u1", user_name="alice", project_id="p1", project_name="one", roles=("member",))


@dataclass
class FakeClock:
    """A clock that stands still until it is moved."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class FakeIdentity(TokenValidator):
    """Knows the tokens it is given, counts questions, and fails or waits when told to."""

    identities: Mapping[bytes, Identity] = field(default_factory=lambda: {b"alice": ALICE})
    asked: Counter[bytes] = field(default_factory=Counter)
    trouble: IdentityUnavailable | None = None
    gate: asyncio.Event | None = None
    expired: tuple[bytes, ...] = ()

    async def validate(self, token: bytes, *, allow_expired: bool = False) -> Identity:
        self.asked[token] += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.trouble is not None:
            raise IdentityUnavailable(self.trouble.trouble, retry_after=self.trouble.retry_after)
        if token not in self.identities or (token in self.expired and not allow_expired):
            raise TokenRejected
        return self.identities[token]


def described(**changes: Any) -> dict[str, Any]:
    """Return Keystone's description of alice's token, with ``changes`` to its fields."""
    token: dict[str, Any] = {
        "methods": ["password"],
        "user": {"id": "u1", "name": "alice", "domain": {"id": "default", "name": "Default"}},
        "project": {"id": "p1", "name": "one", "domain": {"id": "default", "name": "Default"}},
        "roles": [{"id": "r1", "name": "member"}, {"id": "r2", "name": "reader"}],
        "audit_ids": ["audit-1", "audit-0"],
        "issued_at": AN_HOUR_AGO,
        "expires_at": IN_AN_HOUR,
    }
    token |= changes
    return {"token": {name: value for name, value in token.items() if value is not None}}


def issued(token: str = "service-token", expires_at: str = IN_AN_HOUR) -> httpx.Response:
    """Return Keystone's answer to a login."""
    return httpx.Response(201, headers={"X-Subject-Token": token}, json={"token": {"expires_at": expires_at}})


def router() -> respx.MockRouter:
    """Return a Keystone that lets the proxy log in; routes for validation are the test's own."""
    routes = respx.MockRouter(assert_all_called=False)
    routes.post(url__startswith=f"{KEYSTONE}/auth/tokens").mock(return_value=issued())
    return routes


def transport(routes: respx.MockRouter) -> httpx.MockTransport:
    """Return a transport on which ``routes`` answer."""
    return httpx.MockTransport(routes.async_handler)


async def no_pause(_: float) -> None:
    """Let no time pass."""


def keystone(routes: respx.MockRouter, **arguments: Any) -> KeystoneV3:
    """Return a validator that asks ``routes``, at the time NOW."""
    defaults: dict[str, Any] = {"login": LOGIN, "monotonic": FakeClock(), "wall": FakeClock(NOW)}
    defaults["sleep"] = no_pause
    return KeystoneV3(transport(routes), KEYSTONE, **(defaults | arguments))
