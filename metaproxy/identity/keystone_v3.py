"""Tokens validated by Keystone, Identity API v3.

Facts this file rests on (Identity API v3, "Authentication and token management"). A token is validated
by GET /auth/tokens with our own token in X-Auth-Token and the one in question in X-Subject-Token. 200
describes it, 404 says that it is unknown, expired or revoked, 401 speaks of our own token. ``nocatalog``
leaves the catalog out; ``allow_expired=1`` describes expired tokens for a while. A token is scoped to
a project, a domain, the system or nothing. The token of an application credential with access rules is
described only to a service that says that it judges them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec

from metaproxy.clock import Clock, monotonic, wall
from metaproxy.exchange import Identity
from metaproxy.identity.keystone_v3_token import (
    Envelope,
    Issued,
    RevocationEvent,
    RevocationEvents,
    endpoint_url,
    identity_of,
)
from metaproxy.identity.login import LOGIN_REFUSALS, ServiceLogin, ServiceToken
from metaproxy.identity.times import by_our_clock, seconds_since_epoch
from metaproxy.identity.troubles import IdentityUnavailable, Trouble
from metaproxy.identity.validator import TokenRejected, TokenValidator
from metaproxy.identity.wire import Answered, IdentityWire, unreadable_is_nonsense
from metaproxy.telemetry.metrics import Metrics

JUDGES_ACCESS_RULES = {b"OpenStack-Identity-Access-Rules": b"1.0"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Password:
    """A service user's name (or id) and password, scoped to a project, or to the system.

    Names need their domain, by name or by id; ids need none.
    """

    password: str = field(repr=False)
    username: str = ""
    user_id: str = ""
    user_domain_name: str = ""
    user_domain_id: str = ""
    project_name: str = ""
    project_id: str = ""
    project_domain_name: str = ""
    project_domain_id: str = ""
    system_scope: bool = False

    @property
    def confidential(self) -> str:
        """The part of the login that is never shown."""
        return self.password

    def request(self) -> dict[str, Any]:
        """Return the body of the login."""
        domain = _named(self.user_domain_id, self.user_domain_name)
        user = _named(self.user_id, self.username, domain) | {"password": self.password}
        auth: dict[str, Any] = {"identity": {"methods": ["password"], "password": {"user": user}}}
        if self.system_scope:
            auth["scope"] = {"system": {"all": True}}
        elif self.project_id or self.project_name:
            domain = _named(self.project_domain_id, self.project_domain_name)
            auth["scope"] = {"project": _named(self.project_id, self.project_name, domain)}
        return {"auth": auth}


@dataclass(frozen=True, slots=True)
class ApplicationCredential:
    """An application credential, which brings its own user and project."""

    id: str
    secret: str = field(repr=False)

    @property
    def confidential(self) -> str:
        """The part of the login that is never shown."""
        return self.secret

    def request(self) -> dict[str, Any]:
        """Return the body of the login."""
        credential = {"id": self.id, "secret": self.secret}
        method = "application_credential"
        return {"auth": {"identity": {"methods": [method], method: credential}}}


class KeystoneV3(TokenValidator):
    """Validates tokens at a Keystone.

    Args:
        transport: carries the requests; closed by ``close``.
        url: the Identity API, with or without ``/v3``; or several URLs of it.
        login: how the proxy itself logs in.
        timeout: seconds for one call.
        catalog: whether identities bring the service catalog.
        service_type: the service behind the proxy, as access rules of application credentials name it; None
            rejects every token with such rules.
        interface, region: which endpoint of the identity service in the catalog is asked about tokens, once
            the login has brought it; None asks at ``url``. Without a region, that of any region is taken.
    """

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport,
        url: str | Sequence[str],
        *,
        login: Password | ApplicationCredential,
        timeout: float = 5.0,
        catalog: bool = False,
        service_type: str | None = "compute",
        interface: str | None = None,
        region: str | None = None,
        metrics: Metrics | None = None,
        monotonic: Clock = monotonic,
        wall: Clock = wall,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        urls = [_base(one) for one in ((url,) if isinstance(url, str) else url)]
        self._wire = IdentityWire(
            transport, urls, timeout=timeout, metrics=metrics, monotonic=monotonic, wall=wall, sleep=sleep
        )
        self._interface, self._region = interface, region
        self._credentials = login
        self._catalog = catalog
        self._service_type = service_type
        self._wall = wall
        self._login = ServiceLogin(self._wire, self._log_in, monotonic=monotonic)

    async def start(self) -> None:
        """Log in; raises IdentityUnavailable."""
        await self._login.token()

    async def close(self) -> None:
        """End a renewal that runs, and close the transport."""
        await self._login.close()
        await self._wire.close()

    async def validate(self, token: bytes, *, allow_expired: bool = False) -> Identity:
        """Ask Keystone; see ``TokenValidator.validate``."""
        with self._wire.counted("validate"):
            query = [*(() if self._catalog else ("nocatalog=1",)), *(("allow_expired=1",) * allow_expired)]
            path = "/auth/tokens" + ("?" + "&".join(query) if query else "")
            answered = await self._login.get(path, {b"X-Subject-Token": token} | JUDGES_ACCESS_RULES)
            if answered.rejects_token(token):
                raise TokenRejected
            if answered.status != 200:
                raise self._wire.unavailable(answered)
            return self._identity(answered, allow_expired=allow_expired)

    async def revocation_events(self, since: datetime) -> list[RevocationEvent] | None:
        """Return what Keystone revoked since then, or None where it does not offer to tell.

        Raises IdentityUnavailable.
        """
        with self._wire.counted("events"):
            answered = await self._login.get(f"/OS-REVOKE/events?since={since:%Y-%m-%dT%H:%M:%SZ}")
            if answered.status == 404:
                return None
            if answered.status != 200:
                raise self._wire.unavailable(answered)
            return answered.decoded(RevocationEvents).events

    def _identity(self, answered: Answered, *, allow_expired: bool) -> Identity:
        described = answered.decoded(Envelope).token
        expires_at = by_our_clock(seconds_since_epoch(described.expires_at), answered.headers, self._wall)
        if not allow_expired and expires_at <= self._wall():
            raise TokenRejected("token_expired")
        with unreadable_is_nonsense():
            return identity_of(described, expires_at, service_type=self._service_type, catalog=self._catalog)

    def _ask_at_endpoint(self, catalog: msgspec.Raw, interface: str) -> None:
        """Ask about tokens at the endpoint that ``catalog`` names, over TLS if logins use it."""
        url = endpoint_url(catalog, interface, self._region)
        where = f"interface {interface}" + (f" in region {self._region}" if self._region else "")
        if url is None:
            raise IdentityUnavailable(Trouble.NONSENSE, f"the catalog has no identity service: {where}")
        if all(own.startswith("https:") for own in self._wire.urls) and not url.startswith("https:"):
            raise IdentityUnavailable(Trouble.NONSENSE, f"the identity service is not https: {where}")
        if not _is_http(url):
            raise IdentityUnavailable(Trouble.NONSENSE, f"the identity service has no URL of http: {where}")
        # Old catalogs still name the former version; the host is the same.
        self._wire.ask_at(_base(url.rstrip("/").removesuffix("/v2.0")))

    async def _log_in(self) -> ServiceToken:
        with self._wire.counted("login"):
            query = "" if self._interface else "?nocatalog=1"
            answered = await self._wire.post("/auth/tokens" + query, self._credentials.request())
            if answered.status in LOGIN_REFUSALS:
                raise self._wire.login_refused(answered, self._credentials.confidential)
            if answered.status != 201:
                raise self._wire.unavailable(answered)
            issued = answered.decoded(Issued).token
            if self._interface:
                with unreadable_is_nonsense():
                    self._ask_at_endpoint(issued.catalog, self._interface)
            expires_at = seconds_since_epoch(issued.expires_at)
            lifetime = by_our_clock(expires_at, answered.headers, self._wall) - self._wall()
            token = answered.headers.get("x-subject-token", "").encode()
            return ServiceToken(token, lifetime)


def _is_http(url: str) -> bool:
    try:
        httpx.URL(url)
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except (httpx.InvalidURL, ValueError):
        return False


def _base(url: str) -> str:
    return url.rstrip("/").removesuffix("/v3") + "/v3"


def _named(id_: str, name: str, domain: dict[str, Any] | None = None) -> dict[str, Any]:
    if id_:
        return {"id": id_}
    return {"name": name, **({"domain": domain} if domain is not None else {})}
