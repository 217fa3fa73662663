"""The section about identity: who checks tokens, and what the upstream is told about their owners.

There is no default provider. A misspelt or forgotten section must not open the door, so that even
``provider: none`` has to be written out.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from metaproxy.config.addresses import Url
from metaproxy.config.model.section import BlankIsNone, Finding, Secret, Section, Template, Text
from metaproxy.config.model.upstream import ClientTls
from metaproxy.config.units import Duration, Percent, PositiveDuration

HeaderFamily = Literal["openstack", "repose"]


class TokenCache(Section):
    """How long an answer of the identity service is believed."""

    ttl: Duration = 300.0
    """How long a valid token is known; never past its own expiry."""
    negative_ttl: Duration = 10.0
    """How long an unknown token is known to be unknown."""
    max_entries: Annotated[int, Field(ge=1)] = 100_000
    """Tokens kept; the least recently used goes first."""
    stale_if_unavailable: Duration = 60.0
    """How long past ttl a validated token is still taken while identity is down; then 503."""
    jitter: Percent = 0.1
    """By how much each ttl is shortened at random, so that tokens do not all expire at once."""


class ServiceTokens(Section):
    """The X-Service-Token of another service that acts for a user."""

    roles: tuple[Text, ...] = ("service",)
    """Roles of which a service token needs one to count."""
    accept_expired: bool = False
    """Whether a valid service token lets an expired user token through (Keystone's allow_expired)."""


class RevocationEvents(Section):
    """Asking Keystone which tokens were revoked (GET /v3/OS-REVOKE/events)."""

    enabled: bool = False
    """Whether to ask; only some Keystones offer it."""
    interval: PositiveDuration = 30.0
    """Time between two questions."""


class Tokens(Section):
    """What every provider that checks tokens has."""

    advertise: Annotated[Url | None, BlankIsNone] = None
    """The identity URL that WWW-Authenticate names to clients; null names url, where there is one."""
    anonymous: tuple[Template, ...] = ("/", "/v2.1/")
    """Path templates that need no token."""
    on_missing: Literal["reject", "delegate"] = "reject"
    """Without a valid token: 401 (reject), or forward with X-Identity-Status: Invalid (delegate)."""
    headers: tuple[HeaderFamily, ...] = ("openstack", "repose")
    """Which families of identity headers the upstream gets."""


class Keystone(Tokens):
    """What both versions of Keystone have."""

    url: Url
    """The identity service, its version included: https://keystone.example/v3."""
    timeout: PositiveDuration = 5.0
    """How long one call may take; then 504, or 503 with Retry-After."""
    cache: TokenCache = TokenCache()
    """How long an answer of the identity service is believed."""
    tls: ClientTls = ClientTls()
    """TLS towards an https:// identity service; a private cloud often has its own authority."""
    send_catalog: bool = False
    """Whether the upstream gets the service catalog (X-Service-Catalog, X-Catalog)."""


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
            if not key.startswith("application_credential") and getattr(self, key) is not None:
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
        if self.project_name and not (self.project_domain_name or self.project_domain_id):
            yield (
                ("project_domain_name",),
                "is missing: a project's name is unique in its domain only (often Default)",
            )


class KeystoneV3(Keystone):
    """Tokens are checked by a Keystone of API version 3."""

    provider: Literal["keystone-v3"]
    """keystone-v3, keystone-v2, static or none."""
    login: LoginV3
    """The account with which metaproxy validates tokens."""
    service_tokens: ServiceTokens = ServiceTokens()
    """The X-Service-Token of another service that acts for a user."""
    revocation_events: RevocationEvents = RevocationEvents()
    """Asking Keystone which tokens were revoked."""


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


class KeystoneV2(Keystone):
    """Tokens are checked by an identity service of API version 2.0, such as Rackspace Identity."""

    provider: Literal["keystone-v2"]
    """keystone-v3, keystone-v2, static or none."""
    login: LoginV2 | None = None
    """The account with which metaproxy validates tokens; none with self_validating."""
    self_validating: bool = False
    """Whether each token is validated with itself, without an account of our own."""
    groups: bool = False
    """Whether the user's groups are fetched (RAX-KSGRP), for limits and X-PP-Groups."""
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


class StaticToken(Section):
    """One token and whom it speaks for."""

    token: Secret | None = None
    """The token itself; better give token_hash."""
    token_hash: Secret | None = None
    """What `metaproxy hash-token` prints for the token, so that the file holds no token."""
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


class Static(Tokens):
    """Tokens stand in this file or in one of their own: for tests, appliances and small sites."""

    provider: Literal["static"]
    """keystone-v3, keystone-v2, static or none."""
    tokens: tuple[StaticToken, ...] = ()
    """The tokens that are valid."""
    tokens_file: Path | None = None
    """YAML file with a list of more tokens, written like those of tokens; relative to this file."""

    def findings(self) -> Iterator[Finding]:
        """There is a token, and none stands twice."""
        if not self.tokens:
            where = f"{self.tokens_file} holds none" if self.tokens_file else "nobody could log in"
            yield ("tokens",), f"is empty: {where}; give tokens or tokens_file"
        seen: set[tuple[str, str]] = set()
        for index, entry in enumerate(self.tokens):
            for key, secret in (("token", entry.token), ("token_hash", entry.token_hash)):
                if secret is None:
                    continue
                if (key, secret.get_secret_value()) in seen:
                    yield ("tokens", index, key), "the same token stands in the list twice"
                seen.add((key, secret.get_secret_value()))


class NoIdentity(Section):
    """No tokens are checked: everybody is let through, and nobody has a project."""

    provider: Literal["none"]
    """keystone-v3, keystone-v2, static or none."""


IdentityProvider = Annotated[KeystoneV3 | KeystoneV2 | Static | NoIdentity, Field(discriminator="provider")]
