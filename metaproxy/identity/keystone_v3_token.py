"""A token's document of Keystone v3, as types, and the identity that it makes.

Only what an identity needs is named. Required fields (the user's id, the expiry, the id of a project, the
names of roles) must be there; a field of the wrong type makes the whole answer unreadable. Optional fields
may be absent or null. Two things are judged rather than read, because a token that is bound to something is
not valid by itself: the rules of its application credential, and ``bind``. The catalog is decoded only if
it is wanted.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import msgspec

from metaproxy.exchange import Identity
from metaproxy.identity.validator import TokenRejected
from metaproxy.protocol.credential_rules import MAX_RULES_LENGTH, CredentialRule, CredentialRules, length_of

Id = Annotated[str, msgspec.Meta(min_length=1)]
NULL = msgspec.Raw(b"null")


class Domain(msgspec.Struct):
    """A domain."""

    id: str | None = None
    name: str | None = None


class Group(msgspec.Struct):
    """A group that an identity provider has put a federated user into."""

    id: Id


class Federation(msgspec.Struct):
    """Further fields of a federated user's token (OS-FEDERATION)."""

    groups: list[Group] | None = None


class User(msgspec.Struct):
    """The user of a token. A federated user's domain may lack its id."""

    id: Id
    name: str | None = None
    domain: Domain | None = None
    federation: Federation | None = msgspec.field(name="OS-FEDERATION", default=None)


class Project(msgspec.Struct):
    """The project that a token is scoped to."""

    id: Id
    name: str | None = None
    domain: Domain | None = None


class Role(msgspec.Struct):
    """A role; the name is what policies go by."""

    name: Id


class Endpoint(msgspec.Struct):
    """One address of a service in the catalog, with its region and interface."""

    interface: str | None = None
    url: str | None = None
    region: str | None = None
    region_id: str | None = None


class Service(msgspec.Struct):
    """A service of the catalog."""

    type: str | None = None
    name: str | None = None
    endpoints: list[Endpoint | None] | None = None


class Rule(msgspec.Struct):
    """A rule of an application credential."""

    service: str
    method: str
    path: str


class Credential(msgspec.Struct):
    """The application credential that a token was made with."""

    access_rules: list[Rule] | None = None


class Token(msgspec.Struct):
    """A token, as Keystone describes it."""

    expires_at: str
    user: User
    project: Project | None = None
    domain: Domain | None = None
    system: dict[str, Any] | None = None
    roles: list[Role] | None = None
    catalog: msgspec.Raw = NULL
    audit_ids: list[str | None] | None = None
    is_admin_project: bool | None = None
    application_credential: msgspec.Raw = NULL
    bind: msgspec.Raw = NULL


class Envelope(msgspec.Struct):
    """The answer to a validation."""

    token: Token


class IssuedToken(msgspec.Struct):
    """The fields of its own token that a login needs."""

    expires_at: str
    catalog: msgspec.Raw = NULL


class Issued(msgspec.Struct):
    """The answer to a login."""

    token: IssuedToken


class RevocationEvent(msgspec.Struct, frozen=True):
    """A revocation event of Keystone (OS-REVOKE): every token that has all the attributes named."""

    audit_id: str | None = None
    audit_chain_id: str | None = None
    user_id: str | None = None
    project_id: str | None = None
    domain_id: str | None = None
    issued_before: str | None = None


class RevocationEvents(msgspec.Struct):
    """The answer to the question for revocations."""

    events: list[RevocationEvent]


def identity_of(
    token: Token, expires_at: float, *, service_type: str | None = None, catalog: bool = False
) -> Identity:
    """Return who ``token`` speaks for; ``expires_at`` is its expiry by our own clock.

    ``service_type`` is the service that access rules are judged for, ``catalog`` whether the catalog is read.
    Raises TokenRejected for a token that is bound to what cannot be judged.
    """
    if not is_empty(token.bind):
        raise TokenRejected("token_bound")
    user, project = token.user, token.project
    project_domain = (project.domain if project else None) or Domain()
    user_domain, domain = user.domain or Domain(), token.domain or Domain()
    groups = (user.federation.groups if user.federation else None) or ()
    return Identity(
        user_id=user.id,
        user_name=user.name or "",
        user_domain_id=user_domain.id or "",
        user_domain_name=user_domain.name or "",
        project_id=project.id if project else "",
        project_name=(project.name if project else None) or "",
        project_domain_id=project_domain.id or "",
        project_domain_name=project_domain.name or "",
        domain_id=domain.id or "",
        domain_name=domain.name or "",
        system_scope="all" if token.system and token.system.get("all") else "",
        roles=tuple(role.name for role in token.roles or ()),
        # Keystone tells groups of federated users alone, and by id; of one quality, as Repose has them.
        groups=tuple((group.id, 1.0) for group in groups),
        expires_at=expires_at,
        audit_ids=tuple(audit_id or "" for audit_id in token.audit_ids or ()),
        is_admin_project=token.is_admin_project,
        access_rules=access_rules(token.application_credential, service_type),
        catalog=catalog_header(token.catalog) if catalog else None,
        extra={"token_expires": token.expires_at},
    )


def is_empty(value: msgspec.Raw) -> bool:
    """Say whether a field is absent, null, or has nothing in it."""
    return not msgspec.json.decode(value)


def access_rules(credential: msgspec.Raw, service_type: str | None) -> CredentialRules | None:
    """Return the rules of ``credential`` for our service; None if it has none, so that nothing is restricted.

    Raises TokenRejected for rules that cannot be judged: the token is valid within them only.
    """
    if is_empty(credential):
        return None
    try:
        rules = msgspec.json.decode(credential, type=Credential).access_rules
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise TokenRejected("access_rules_unreadable") from None
    if rules is None:
        return None
    if service_type is None:
        raise TokenRejected("access_rules_not_judged")
    own = tuple(CredentialRule(rule.method, rule.path) for rule in rules if rule.service == service_type)
    if length_of(own) > MAX_RULES_LENGTH:
        raise TokenRejected("access_rules_unreadable")
    return own


def catalog_header(catalog: msgspec.Raw) -> bytes | None:
    """Return the catalog as X-Service-Catalog has it: the shape of v2.0, one entry per region.

    None for an empty catalog.
    """
    services = msgspec.json.decode(catalog, type=list[Service | None] | None)
    told = [_told(service, service.endpoints or ()) for service in services or () if service and service.type]
    return json.dumps(told).encode() if told else None


def endpoint_url(catalog: msgspec.Raw, interface: str, region: str | None) -> str | None:
    """Return where ``catalog`` has the identity service; ``region`` None takes the first endpoint of any."""
    services = msgspec.json.decode(catalog, type=list[Service | None] | None) or ()
    for service in services:
        for endpoint in (service.endpoints if service and service.type == "identity" else None) or ():
            if endpoint is None or endpoint.interface != interface or not endpoint.url:
                continue
            if region is None or region in (endpoint.region, endpoint.region_id):
                return endpoint.url
    return None


def _told(service: Service, endpoints: Sequence[Endpoint | None]) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": service.type, "endpoints": _by_region(filter(None, endpoints))}
    return entry | ({"name": service.name} if service.name else {})


def _by_region(endpoints: Iterable[Endpoint]) -> list[dict[str, str]]:
    regions: dict[str | None, dict[str, str]] = {}
    for endpoint in endpoints:
        if endpoint.interface:
            own = {"region": endpoint.region} if endpoint.region else {}
            region = regions.setdefault(endpoint.region, own)
            region[endpoint.interface.lower() + "URL"] = endpoint.url or ""
    return list(regions.values())
