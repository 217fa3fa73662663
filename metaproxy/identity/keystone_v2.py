"""Tokens validated by an Identity API v2.0, such as Rackspace Identity.

Facts this file rests on (Identity API v2.0, "Tokens"). A token is validated by GET /tokens/{token} with
our own token in X-Auth-Token; the token stands in the path, so it is percent-encoded, and no error of
ours repeats the path. 404 says that it is unknown, 401 speaks of our own token. Without a login of
our own, each token validates itself: 401 and 403 then speak of it. Groups are an extension (RAX-KSGRP).
"""

import asyncio
import contextlib
import re
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx

from metaproxy.clock import Clock, monotonic, wall
from metaproxy.exchange import Identity
from metaproxy.identity.keystone_v2_token import Access, Envelope, Group, Groups, Issued, identity_of
from metaproxy.identity.login import LOGIN_REFUSALS, ServiceLogin, ServiceToken
from metaproxy.identity.times import by_our_clock, seconds_since_epoch
from metaproxy.identity.validator import TokenRejected, TokenValidator
from metaproxy.identity.wire import Answered, IdentityWire, unreadable_is_nonsense
from metaproxy.telemetry.metrics import Metrics

# 203 came from a cache on the way: it is a verdict still (Identity API v2.0, "Validate token").
_VALID = frozenset({200, 203})

# In the place of a token these lead to another resource (RFC 3986 §5.2.4), asked for with our own rights, or
# to the 404 page of a server in between, to which an escaped slash is none: either would look like trouble
# with identity. No token of any kind has them.
_LEADS_ELSEWHERE = re.compile(rb"\.{1,2}|.*[/\\%].*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class PasswordV2:
    """A service user's name and password, in a tenant where the service has one."""

    username: str
    password: str = field(repr=False)
    tenant_id: str = ""
    tenant_name: str = ""

    def request(self) -> dict[str, Any]:
        """Return the body of the login."""
        auth: dict[str, Any] = {"passwordCredentials": {"username": self.username, "password": self.password}}
        if self.tenant_id:
            auth["tenantId"] = self.tenant_id
        elif self.tenant_name:
            auth["tenantName"] = self.tenant_name
        return {"auth": auth}


class KeystoneV2(TokenValidator):
    """Validates tokens at an Identity API v2.0.

    Args:
        transport: carries the requests; closed by ``close``.
        url: the Identity API, with or without ``/v2.0``; or several URLs of it.
        login: how the proxy itself logs in; None lets every token validate itself.
        groups: whether the user's groups are fetched as well.
        catalog: whether identities bring the service catalog.
        timeout: seconds for one call.
    """

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport,
        url: str | Sequence[str],
        *,
        login: PasswordV2 | None,
        groups: bool = False,
        catalog: bool = False,
        timeout: float = 5.0,
        metrics: Metrics | None = None,
        monotonic: Clock = monotonic,
        wall: Clock = wall,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        own = (url,) if isinstance(url, str) else url
        urls = [one.rstrip("/").removesuffix("/v2.0") + "/v2.0" for one in own]
        self._wire = IdentityWire(
            transport, urls, timeout=timeout, metrics=metrics, monotonic=monotonic, wall=wall, sleep=sleep
        )
        self._groups = groups
        self._catalog = catalog
        self._wall = wall
        self._login = None
        if login is not None:
            self._credentials = login
            self._login = ServiceLogin(self._wire, self._log_in, monotonic=monotonic)

    async def start(self) -> None:
        """Log in; raises IdentityUnavailable.

        Without a login, ask about a made-up token: a service that rejects it is an identity service.
        """
        if self._login is not None:
            await self._login.token()
            return
        with contextlib.suppress(TokenRejected):
            await self.validate(secrets.token_hex(16).encode())

    async def close(self) -> None:
        """End a renewal that runs, and close the transport."""
        if self._login is not None:
            await self._login.close()
        await self._wire.close()

    async def validate(self, token: bytes, *, allow_expired: bool = False) -> Identity:
        """Ask identity; see ``TokenValidator.validate``. It never says whose an expired token was."""
        if _LEADS_ELSEWHERE.fullmatch(token):
            raise TokenRejected
        with self._wire.counted("validate"):
            answered = await self._get(f"/tokens/{quote(token, safe='')}", token)
            if answered.rejects_token(token):
                raise TokenRejected
            if self._login is None and answered.status in {401, 403}:
                raise TokenRejected
            if answered.status not in _VALID:
                raise self._wire.unavailable(answered)
            access = answered.decoded(Envelope).access
            expires_at = seconds_since_epoch(access.token.expires)
            expires_at = by_our_clock(expires_at, answered.headers, self._wall)
            if expires_at <= self._wall():
                raise TokenRejected("token_expired")
        groups = await self._groups_of(access, token) if self._groups else []
        with unreadable_is_nonsense():
            return identity_of(access, groups, expires_at, catalog=self._catalog)

    async def _get(self, path: str, token: bytes) -> Answered:
        if self._login is None:
            return await self._wire.get(path, token)
        return await self._login.get(path)

    async def _groups_of(self, access: Access, token: bytes) -> list[Group]:
        with self._wire.counted("groups"):
            answered = await self._get(f"/users/{quote(str(access.user.id), safe='')}/RAX-KSGRP", token)
            if answered.status == 404:
                return []
            if answered.status not in _VALID:
                raise self._wire.unavailable(answered)
            return answered.decoded(Groups).groups or []

    async def _log_in(self) -> ServiceToken:
        with self._wire.counted("login"):
            answered = await self._wire.post("/tokens", self._credentials.request())
            if answered.status in LOGIN_REFUSALS:
                raise self._wire.login_refused(answered, self._credentials.password)
            if answered.status not in _VALID:
                raise self._wire.unavailable(answered)
            issued = answered.decoded(Issued).access.token
            expires_at = by_our_clock(seconds_since_epoch(issued.expires), answered.headers, self._wall)
            return ServiceToken(issued.id.encode(), expires_at - self._wall())
