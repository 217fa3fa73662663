"""What Keystone v3 says of a token, as types, and the identity that it makes.

Only what an identity needs is named; a field of the wrong type, or a missing one that the API
promises, makes the whole answer unreadable.
"""

import json
from typing import Annotated, Any

import msgspec

from metaproxy.exchange import Identity

Id = Annotated[str, msgspec.Meta(min_length=1)]


class Domain(msgspec.Struct):
    """A domain."""

    id: str | None = None
    name: str | None = None


class Group(msgspec.Struct):
    """A group that an identity provider has put a federated user into."""

    id: Id


class Federation(msgspec.Struct):
    """What a token of a federated user says beside (OS-FEDERATION)."""

    groups: list[Group] = []


class User(msgspec.Struct):
    """The user of a token. A federated user's domain may lack its id."""

    id: Id
    name: str = ""
    domain: Domain = msgspec.field(default_factory=Domain)
    federation: Federation = msgspec.field(name="OS-FEDERATION", default_factory=Federation)


class Project(msgspec.Struct):
    """The project that a token is scoped to."""

    id: Id
    name: str = ""
    domain: Domain = msgspec.field(default_factory=Domain)


class Role(msgspec.Struct):
    """A role; the name is what policies go by."""

    name: Id


class Endpoint(msgspec.Struct):
    """Where a service of the catalog can be reached, for whom."""

    interface: str
    url: str | None = None
    region: str | None = None


class Service(msgspec.Struct):
    """A service of the catalog."""

    type: str
    name: str = ""
    endpoints: list[Endpoint] = []


class Token(msgspec.Struct):
    """A token, as Keystone describes it."""

    expires_at: str
    user: User
    project: Project | None = None
    domain: Domain | None = None
    system: dict[str, Any] | None = None
    roles: list[Role] = []
    catalog: list[Service] = []
    audit_ids: list[str] = []
    is_admin_project: bool | None = None


class Envelope(msgspec.Struct):
    """The answer to a validation."""

    token: Token


class IssuedToken(msgspec.Struct):
    """What a login needs to know of the token it was given."""

    expires_at: str


class Issued(msgspec.Struct):
    """The answer to a login."""

    token: IssuedToken


class RevocationEvent(msgspec.Struct, frozen=True):
    """What Keystone revoked (OS-REVOKE): every token that has all the attributes named."""

    audit_id: str | None = None
    audit_chain_id: str | None = None
    user_id: str | None = None
    project_id: str | None = None
    domain_id: str | None = None
    issued_before: str | None = None


class RevocationEvents(msgspec.Struct):
    """The answer to the question for revocations."""

    events: list[RevocationEvent]


def identity_of(token: Token, expires_at: float) -> Identity:
    """Return who ``token`` speaks for; ``expires_at`` is its expiry by our own clock."""
    project = token.project or Project(id="-")
    domain = token.domain or Domain()
    return Identity(
        user_id=token.user.id,
        user_name=token.user.name,
        user_domain_id=token.user.domain.id or "",
        user_domain_name=token.user.domain.name or "",
        project_id=project.id if token.project else "",
        project_name=project.name,
        project_domain_id=project.domain.id or "",
        project_domain_name=project.domain.name or "",
        domain_id=domain.id or "",
        domain_name=domain.name or "",
        system_scope="all" if token.system and token.system.get("all") else "",
        roles=tuple(role.name for role in token.roles),
        # Keystone tells groups of federated users alone, and by id; of one quality, as Repose has them.
        groups=tuple((group.id, 1.0) for group in token.user.federation.groups),
        expires_at=expires_at,
        audit_ids=tuple(token.audit_ids),
        is_admin_project=token.is_admin_project,
        catalog=catalog_header(token.catalog) if token.catalog else None,
        extra={"token_expires": token.expires_at},
    )


def catalog_header(services: list[Service]) -> bytes:
    """Return the catalog as X-Service-Catalog has it: the shape of v2.0, one entry per region."""
    catalog = []
    for service in services:
        regions: dict[str | None, dict[str, str]] = {}
        for endpoint in service.endpoints:
            region = regions.setdefault(
                endpoint.region, {"region": endpoint.region} if endpoint.region else {}
            )
            region[endpoint.interface.lower() + "URL"] = endpoint.url or ""
        entry: dict[str, Any] = {"type": service.type, "endpoints": list(regions.values())}
        catalog.append(entry | ({"name": service.name} if service.name else {}))
    return json.dumps(catalog).encode()
