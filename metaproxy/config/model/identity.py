"""The section about identity: who checks tokens, and what the upstream is told about their owners.

There is no default provider. A misspelt or forgotten section must not open the door, so that even
``provider: none`` has to be written out.
"""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, AwareDatetime, Field, SecretStr

from metaproxy.config.model.upstream import ClientTls
from metaproxy.identity.digests import fingerprint, parse_hash
from metaproxy.identity.token_cache import TokenCacheSettings
from metaproxy.protocol.identity_headers import Family
from metaproxy.protocol.option_values import Template
from metaproxy.settings.section import Finding, Section
from metaproxy.settings.units import PositiveDuration, RequestRate, Size, parse_rate
from metaproxy.settings.urls import Url, Urls
from metaproxy.settings.values import BlankIsNone, Count, File, Secret, Text, Token

LEAST_DIFFERENT = 16
"""Different bytes, and different steps from one byte to the next, of a key that may be random."""
MAX_KEYS = 4
"""Each key costs another look-up, and two are enough to change them."""


class Tokens(Section):
    """The options of every provider that checks tokens."""

    advertise: Annotated[Url | None, BlankIsNone] = None
    """The identity URL that WWW-Authenticate names to clients; null names url, where there is one."""
    anonymous: tuple[Template, ...] = ("/", "/v2", "/v2/", "/v2.1", "/v2.1/", "/healthcheck")
    """Path templates that need no token; one that says which resource it is for opens all its names."""
    anonymous_exact: bool = False
    """True if anonymous opens only the versions and forms of paths that are written there."""
    on_missing: Literal["reject", "delegate", "delegate-always"] = "reject"
    """Without a valid token: 401, or forward as X-Identity-Status: Invalid (-always: in outages too)."""
    max_token_bytes: Size = 16384
    """Longer tokens are refused without asking: 401, token_too_long."""
    headers: tuple[Family, ...] = ("openstack", "repose")
    """Which families of identity headers the upstream gets."""


class ServiceTokens(Section):
    """The X-Service-Token of another service that acts for a user."""

    roles: tuple[Text, ...] = ("service",)
    """Roles of which a service token needs one to count."""
    accept_expired: bool = False
    """True if a valid service token lets an expired user token through (Keystone's allow_expired)."""


class RevocationEventsSettings(Section):
    """Asking Keystone which tokens were revoked (GET /v3/OS-REVOKE/events)."""

    enabled: bool = False
    """True to ask; only some Keystones offer it."""
    interval: PositiveDuration = 30.0
    """Time between two questions."""


class GuessesSettings(Section):
    """Questions about tokens that were never valid here, for each address: anybody can make tokens up."""

    rate: RequestRate | None = parse_rate("600/minute")
    """Unknown tokens of one address that identity may reject; over it 413, unasked. null: no limit."""
    at_once: Annotated[Count, Field(le=60)] = 32
    """Such questions of one address at the same time. More wait, and addresses take turns."""


def _sealing_key(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if not re.fullmatch("[0-9a-fA-F]{64}", text):
        raise ValueError("a key is 64 hexadecimal digits, as `openssl rand -hex 32` prints them")
    key = bytes.fromhex(text)
    steps = {(after - before) % 256 for before, after in pairwise(key)}
    # 32 random bytes fail one of these once in four billion times.
    if len(set(key)) < LEAST_DIFFERENT or len(steps) < LEAST_DIFFERENT or key.isascii():
        raise ValueError("the key is not random: use what `openssl rand -hex 32` prints")
    return value


SealingKey = Annotated[Secret, AfterValidator(_sealing_key)]


class SharedTokens(Section):
    """Valid tokens that replicas share in the store, sealed, so that identity is asked once for all."""

    keys: Annotated[tuple[SealingKey, ...], Field(max_length=MAX_KEYS)] = ()
    """Keys of 64 hexadecimal digits; the first seals, all open, so that they can be changed. [] is off."""

    def findings(self) -> Iterator[Finding]:
        """Return keys that stand twice."""
        first: dict[bytes, int] = {}
        for index, key in enumerate(self.secrets()):
            if (earlier := first.setdefault(key, index)) != index:
                yield ("keys", index), f"is keys[{earlier}] again"

    def secrets(self) -> list[bytes]:
        """Return the keys as bytes."""
        return [bytes.fromhex(key.get_secret_value()) for key in self.keys]


class Keystone(Tokens):
    """The options of both versions of Keystone."""

    url: Annotated[Urls, Field(min_length=1)]
    """The identity service; it may lack its version: https://keystone.example/v3; a list is asked in turn."""
    timeout: PositiveDuration = 5.0
    """How long one call may take, new tries of a broken connection included; then 504 or 503."""
    cache: TokenCacheSettings = TokenCacheSettings()
    """How long an answer of the identity service is believed."""
    shared_tokens: SharedTokens = SharedTokens()
    """Valid tokens that replicas share in the store, sealed, so that identity is asked once for all."""
    guesses: GuessesSettings = GuessesSettings()
    """Questions about tokens that were never valid here, for each address."""
    tls: ClientTls = ClientTls()
    """TLS towards an https:// identity service; a private cloud often has its own authority."""
    send_catalog: bool = False
    """True if the upstream gets the service catalog (X-Service-Catalog, X-Catalog)."""
    max_catalog_bytes: Size = 16384
    """Largest header field with a catalog; a larger one is left out, logged and counted."""


class LoginV3(Section):
    """The account with which metaproxy validates tokens: a user, or an application credential."""

    username: Text | None = None
    """Name of the service user; needs its domain."""
    user_id: Text | None = None
    """Id of the service user, in place of name and domain."""
    password: Secret | None = None
    """Password of the service user."""
    user_domain_name: Text | None = None
    """Name of the user's domain."""
    user_domain_id: Text | None = None
    """Id of the user's domain."""
    project_name: Text | None = None
    """Name of the project that the login is scoped to; needs its domain."""
    project_id: Text | None = None
    """Id of that project, in place of name and domain."""
    project_domain_name: Text | None = None
    """Name of the project's domain."""
    project_domain_id: Text | None = None
    """Id of the project's domain."""
    system_scope: bool = False
    """True if the login is for the whole system, in place of a project."""
    application_credential_id: Text | None = None
    """Id of an application credential, in place of user and password."""
    application_credential_secret: Secret | None = None
    """Secret of that application credential."""

    def findings(self) -> Iterator[Finding]:
        """Exactly one way to log in, and all that belongs to it."""
        if self.application_credential_id or self.application_credential_secret:
            yield from self._credential_findings()
        else:
            yield from self._password_findings()

    def _credential_findings(self) -> Iterator[Finding]:
        for key in ("application_credential_id", "application_credential_secret"):
            if getattr(self, key) is None:
                yield (key,), "is missing: an application credential has an id and a secret"
        for key in sorted(self.model_fields_set):
            if not key.startswith("application_credential") and getattr(self, key):
                yield (
                    (key,),
                    "does not go with an application credential, which already names user and project",
                )

    def _password_findings(self) -> Iterator[Finding]:
        if (self.username is None) == (self.user_id is None):
            yield (
                ("username",),
                "is missing: a login has username or user_id (one of them) and password, "
                "or application_credential_id and application_credential_secret",
            )
        if self.password is None:
            yield ("password",), "is missing"
        if self.username and not (self.user_domain_name or self.user_domain_id):
            yield (
                ("user_domain_name",),
                "is missing: a user's name is unique in its domain only (often Default)",
            )
        if self.system_scope and (self.project_name or self.project_id):
            yield ("system_scope",), "stands beside a project: a login is for one of them"
        if self.project_name and not (self.project_domain_name or self.project_domain_id):
            yield (
                ("project_domain_name",),
                "is missing: a project's name is unique in its domain only (often Default)",
            )


class KeystoneV3Settings(Keystone):
    """Tokens are checked by a Keystone of API version 3."""

    provider: Literal["keystone-v3"]
    """The provider that checks tokens; none switches the check off."""
    login: LoginV3
    """The account with which metaproxy validates tokens."""
    service_type: Annotated[Text | None, BlankIsNone] = "compute"
    """Our service in access rules of application credentials; null refuses every token that has some."""
    interface: Literal["public", "internal", "admin"] | None = None
    """The endpoint of identity in the login's catalog that is asked about tokens; null asks at url."""
    region: Text | None = None
    """The region of that endpoint; null takes the first of any region."""
    service_tokens: ServiceTokens = ServiceTokens()
    """The X-Service-Token of another service that acts for a user."""
    revocation_events: RevocationEventsSettings = RevocationEventsSettings()
    """Asking Keystone which tokens were revoked."""

    def findings(self) -> Iterator[Finding]:
        """A region is one of an interface."""
        if self.region and not self.interface:
            yield ("interface",), "is missing: a region has no use without it; give public, internal or admin"


class LoginV2(Section):
    """The account with which metaproxy validates tokens."""

    username: Text
    """Name of the service user."""
    password: Secret
    """Password of the service user."""
    tenant_name: Text | None = None
    """Name of the tenant that the login is scoped to."""
    tenant_id: Text | None = None
    """Id of that tenant, in place of its name."""

    def findings(self) -> Iterator[Finding]:
        """A tenant has a name or an id."""
        if self.tenant_name and self.tenant_id:
            yield ("tenant_id",), "stands beside tenant_name: give one of them"


class KeystoneV2Settings(Keystone):
    """Tokens are checked by an identity service of API version 2.0, such as Rackspace Identity."""

    provider: Literal["keystone-v2"]
    """The provider that checks tokens; none switches the check off."""
    login: LoginV2 | None = None
    """The account with which metaproxy validates tokens; none with self_validating."""
    self_validating: bool = False
    """True if each token is validated with itself, without an account of our own."""
    groups: bool = False
    """True if the ids of the user's groups are fetched (RAX-KSGRP), for limits and X-PP-Groups."""
    tenant_prefixes: tuple[Text, ...] = ()
    """Prefixes such as "MossoCloudFS:" that are taken off tenant ids before they are compared."""

    def findings(self) -> Iterator[Finding]:
        """An account, or self-validation."""
        if self.login is None and not self.self_validating:
            yield ("login",), "is missing: give username and password, or set self_validating: true"
        if self.login is not None and self.self_validating:
            yield ("login",), "has no use with self_validating: true; remove one of them"


class Named(Section):
    """An id with its name."""

    id: Text
    """The id."""
    name: str = ""
    """The name; may be left out."""


def _token_hash(value: SecretStr) -> SecretStr:
    try:
        parse_hash(value.get_secret_value())
    except ValueError:
        raise ValueError(
            "a token hash is what `metaproxy hash-token` prints: sha256: and 64 hexadecimal digits"
        ) from None
    return value


class StaticTokenSettings(Section):
    """One token and whom it speaks for."""

    token: Token | None = None
    """The token itself; better give token_hash."""
    token_hash: Annotated[Secret, AfterValidator(_token_hash)] | None = None
    """The output of `metaproxy hash-token` for the token, so that the file holds no token."""
    user: Named
    """The user that the token speaks for."""
    project: Named | None = None
    """The project that the token is scoped to; null is an unscoped token."""
    roles: tuple[Text, ...] = ()
    """The roles of the user in the project."""
    expires: AwareDatetime | None = None
    """When the token ends, with its zone: 2027-01-01T00:00:00Z; null is never."""

    def findings(self) -> Iterator[Finding]:
        """The token in one form."""
        if (self.token is None) == (self.token_hash is None):
            yield ("token",), "a token is given as token or as token_hash: one of them"

    def digest(self) -> bytes:
        """Return the SHA-256 of the token, by which it is told apart from others."""
        if self.token is not None:
            return fingerprint(self.token.get_secret_value().encode())
        return parse_hash(self.token_hash.get_secret_value()) if self.token_hash is not None else b""


class Static(Tokens):
    """Tokens stand in this file or in one of their own: for tests, appliances and small sites."""

    provider: Literal["static"]
    """The provider that checks tokens; none switches the check off."""
    tokens: tuple[StaticTokenSettings, ...] = ()
    """The tokens that are valid."""
    tokens_file: File | None = None
    """YAML file with the list in place of tokens, so that it can be kept apart."""

    def findings(self) -> Iterator[Finding]:
        """There is a token, and none stands twice."""
        if not self.tokens:
            where = f"{self.tokens_file} holds none" if self.tokens_file else "nobody could log in"
            yield ("tokens",), f"is empty: {where}; give tokens or tokens_file"
        first: dict[bytes, int] = {}
        for index, token in enumerate(self.tokens):
            if (earlier := first.setdefault(token.digest(), index)) != index:
                yield ("tokens", index), f"is the token of tokens[{earlier}] again"


class NoIdentity(Section):
    """No tokens are checked: everybody is let through, and nobody has a project."""

    provider: Literal["none"]
    """The provider that checks tokens; none switches the check off."""


AnyProvider = KeystoneV3Settings | KeystoneV2Settings | Static | NoIdentity
IdentityProvider = Annotated[AnyProvider, Field(discriminator="provider")]

PROVIDERS: tuple[str, ...] = tuple(
    name for kind in get_args(AnyProvider) for name in get_args(kind.model_fields["provider"].annotation)
)
"""The names of all providers."""
