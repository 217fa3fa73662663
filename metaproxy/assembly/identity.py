"""The section ``identity``: who validates tokens, behind which cache."""

import ssl
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from hashlib import sha256
from typing import Literal, NamedTuple

import msgspec

from metaproxy.assembly.held import Resource
from metaproxy.config.model.identity import (
    Keystone,
    KeystoneV2Settings,
    KeystoneV3Settings,
    LoginV2,
    LoginV3,
    ServiceTokens,
    Static,
    StaticTokenSettings,
)
from metaproxy.exchange import Identity
from metaproxy.filters.authenticate import Authenticate
from metaproxy.forward.transport import UpstreamTransport
from metaproxy.identity.cached import CachedValidator
from metaproxy.identity.guesses import GuessCounter, Guesses
from metaproxy.identity.keystone_v2 import KeystoneV2, PasswordV2
from metaproxy.identity.keystone_v3 import ApplicationCredential, KeystoneV3, Password
from metaproxy.identity.rendering import IdentityHeaders
from metaproxy.identity.revocation import RevocationMemory
from metaproxy.identity.revocation_events import RevocationEventPolling
from metaproxy.identity.revocations import Revocations
from metaproxy.identity.shared_tokens import SealingNotInstalled, SharedTokens
from metaproxy.identity.static import StaticToken, StaticTokens
from metaproxy.identity.token_cache import TokenCacheSettings
from metaproxy.identity.validator import TokenValidator
from metaproxy.protocol.addresses import IPV6_PREFIX
from metaproxy.protocol.mount import NOT_MOUNTED, Mount
from metaproxy.protocol.open_paths import OpenPaths
from metaproxy.settings.units import Rate
from metaproxy.store.broadcast import Broadcast
from metaproxy.store.guesses import GuessesByAddress
from metaproxy.store.memory import MemoryCounters
from metaproxy.store.revocations import KEPT_SECONDS, RevocationRecord
from metaproxy.store.values import SharedValues
from metaproxy.telemetry.metrics import Metrics

Provider = KeystoneV3Settings | KeystoneV2Settings | Static

Counting = Callable[[Rate], GuessCounter]
"""Given how many guesses an address has: what counts them."""


class TokenStore(NamedTuple):
    """The store in which replicas share tokens.

    ``prefix`` begins its keys, ``timeout`` is the seconds that it may cost a request.
    """

    values: SharedValues | None
    prefix: str
    timeout: float


NO_STORE = TokenStore(None, "", 0.0)

IDENTITY_CONNECTIONS = 64
IDENTITY_QUEUE = 4096
QUESTIONS_AT_ONCE = 60
"""Questions about tokens never seen before. The other connections are for the login and known tokens."""


class Tokens:
    """Everything that knows tokens: the validator with its cache, and what makes it forget.

    ``tls`` is for an https:// identity service. ``record`` is where revocations are recorded for replicas
    that are away. ``revoked`` is the memory of what was revoked, which outlives a change of the section.
    ``shared`` is where replicas share tokens, if the section has a key for that.
    ``counting`` makes what counts the guesses of each address; IPv6 addresses with the first ``ipv6_prefix``
    bits in common are one.
    """

    def __init__(
        self,
        section: Provider,
        broadcast: Broadcast,
        metrics: Metrics,
        tls: ssl.SSLContext | None = None,
        *,
        record: RevocationRecord | None = None,
        revoked: RevocationMemory | None = None,
        counting: Counting | None = None,
        shared: TokenStore = NO_STORE,
        ipv6_prefix: int = IPV6_PREFIX,
    ) -> None:
        self._transport: UpstreamTransport | None = None
        inner: TokenValidator
        if isinstance(section, Static):
            inner = StaticTokens(_static_token(token) for token in section.tokens)
        else:
            self._transport = _transport(section, metrics, tls)
            inner = _keystone(section, self._transport, metrics)
        counting = counting or partial(GuessesByAddress, local=MemoryCounters())
        guesses = _guesses(section, counting, ipv6_prefix, metrics)
        revoked = revoked or RevocationMemory()
        shared_tokens = _shared_tokens(section, shared, revoked, metrics)
        self.validator = _cached(inner, section, metrics, revoked, guesses, shared_tokens)
        self.revocations = Revocations(self.validator, broadcast, record)
        self._parts: list[Resource] = [self.validator, self.revocations]
        if isinstance(section, KeystoneV3Settings) and isinstance(inner, KeystoneV3):
            events = section.revocation_events
            if events.enabled:
                self._parts.append(RevocationEventPolling(inner, self.validator, interval=events.interval))

    def renew_tls(self, context: ssl.SSLContext) -> None:
        """Open connections with ``context`` from now on, and retire those that are open."""
        if self._transport is not None:
            self._transport.renew_tls(context)

    async def start(self) -> None:
        """Log in, listen, and begin to ask for revocations."""
        for part in self._parts:
            await part.start()

    async def close(self) -> None:
        """End what ``start`` has begun."""
        for part in reversed(self._parts):
            await part.close()


def authenticate(
    section: Provider,
    tokens: Tokens,
    mount: Mount = NOT_MOUNTED,
    *,
    over_limit_status: Literal[413, 429] = 413,
) -> Authenticate:
    """Return the check that ``section`` describes, behind the guard."""
    service_tokens = section.service_tokens if isinstance(section, KeystoneV3Settings) else ServiceTokens()
    return Authenticate(
        validator=tokens.validator,
        advertise=section.advertise or (section.url[0] if isinstance(section, Keystone) else ""),
        anonymous=OpenPaths(section.anonymous, mount, exact=section.anonymous_exact),
        on_missing=section.on_missing,
        service_roles=service_tokens.roles,
        accept_expired=service_tokens.accept_expired,
        max_token_bytes=section.max_token_bytes,
        over_limit_status=over_limit_status,
        removes_forged=False,
    )


def _guesses(section: Provider, counting: Counting, ipv6_prefix: int, metrics: Metrics) -> Guesses | None:
    """Return the turns of questions to a Keystone; None for tokens that are known here."""
    if isinstance(section, Static):
        return None
    said = section.guesses
    counter = counting(said.rate) if said.rate is not None else None
    return Guesses(
        counter,
        at_once=said.at_once,
        places=QUESTIONS_AT_ONCE,
        patience=section.timeout,
        ipv6_prefix=ipv6_prefix,
        metrics=metrics,
    )


def _cached(
    inner: TokenValidator,
    section: Provider,
    metrics: Metrics,
    revoked: RevocationMemory,
    guesses: Guesses | None,
    shared: SharedTokens | None,
) -> CachedValidator:
    cache, headers = TokenCacheSettings(), IdentityHeaders(section.headers, metrics=metrics)
    if isinstance(section, Keystone):
        cache = section.cache
        headers = IdentityHeaders(
            section.headers,
            send_catalog=section.send_catalog,
            max_catalog_bytes=section.max_catalog_bytes,
            metrics=metrics,
        )
    return CachedValidator(
        inner, cache, headers=headers, guesses=guesses, metrics=metrics, revoked=revoked, shared=shared
    )


def _shared_tokens(
    section: Provider, store: TokenStore, revoked: RevocationMemory, metrics: Metrics
) -> SharedTokens | None:
    """Return the tokens that replicas share; None if there is no key or no store.

    Raises SealingNotInstalled.
    """
    if isinstance(section, Static) or not section.shared_tokens.keys or store.values is None:
        return None
    try:
        from metaproxy.identity.sealing import Sealer
    except ImportError as error:
        raise SealingNotInstalled(
            "identity.shared_tokens needs the extra tokens: pip install 'metaproxy[tokens]'"
        ) from error
    events = isinstance(section, KeystoneV3Settings) and section.revocation_events.enabled
    return SharedTokens(
        store.values,
        Sealer(section.shared_tokens.secrets(), _settings_digest(section, store.prefix)),
        revoked=revoked,
        ttl=min(section.cache.ttl, KEPT_SECONDS),  # what was revoked is not remembered for longer
        timeout=store.timeout,
        needs_events=events,
        metrics=metrics,
    )


def _settings_digest(section: KeystoneV3Settings | KeystoneV2Settings, prefix: str) -> bytes:
    """Return a digest of what decides who is asked about tokens, and what is made of the answer."""
    said: list[object] = [prefix, section.provider, sorted(section.url), section.send_catalog]
    match section:
        case KeystoneV3Settings():
            said += [section.service_type, section.interface, section.region]
        case KeystoneV2Settings():
            said += [section.groups, section.self_validating]
    return sha256(msgspec.json.encode(said)).digest()


def _keystone(
    section: KeystoneV3Settings | KeystoneV2Settings, transport: UpstreamTransport, metrics: Metrics
) -> TokenValidator:
    match section:
        case KeystoneV3Settings():
            return KeystoneV3(
                transport,
                section.url,
                login=_login_v3(section.login),
                timeout=section.timeout,
                catalog=section.send_catalog,
                service_type=section.service_type,
                interface=section.interface,
                region=section.region,
                metrics=metrics,
            )
        case KeystoneV2Settings():
            return KeystoneV2(
                transport,
                section.url,
                login=_login_v2(section.login) if section.login else None,
                groups=section.groups,
                catalog=section.send_catalog,
                timeout=section.timeout,
                metrics=metrics,
            )


def _transport(section: Keystone, metrics: Metrics, tls: ssl.SSLContext | None) -> UpstreamTransport:
    return UpstreamTransport(
        connect_timeout=section.timeout,
        read_timeout=section.timeout,
        write_timeout=section.timeout,
        pool_timeout=section.timeout,
        max_connections=IDENTITY_CONNECTIONS,
        queue=IDENTITY_QUEUE,
        ssl_context=tls,
        metrics=metrics,
        name="identity",
    )


def _login_v3(login: LoginV3) -> Password | ApplicationCredential:
    if login.application_credential_id and login.application_credential_secret:
        return ApplicationCredential(
            login.application_credential_id, login.application_credential_secret.get_secret_value()
        )
    said = {each.name: getattr(login, each.name) for each in fields(Password)}
    said["password"] = login.password.get_secret_value() if login.password else ""
    return Password(**{name: value for name, value in said.items() if value is not None})


def _login_v2(login: LoginV2) -> PasswordV2:
    return PasswordV2(
        login.username,
        login.password.get_secret_value(),
        tenant_id=login.tenant_id or "",
        tenant_name=login.tenant_name or "",
    )


def _static_token(token: StaticTokenSettings) -> StaticToken:
    return StaticToken(
        identity=Identity(
            user_id=token.user.id,
            user_name=token.user.name,
            project_id=token.project.id if token.project else "",
            project_name=token.project.name if token.project else "",
            roles=token.roles,
            expires_at=token.expires.timestamp() if token.expires else 0.0,
        ),
        token=token.token.get_secret_value() if token.token else "",
        token_hash=token.token_hash.get_secret_value() if token.token_hash else "",
    )
