"""What the Identity API v2.0 says of a token, as types, and the identity that it makes.

Rackspace's extensions stand under their prefixed names. A role that names a tenant gives the token
that tenant too; ids may be written as numbers.
"""

import base64
import json
from typing import Annotated, Any

import msgspec

from metaproxy.exchange import Identity

Id = Annotated[str, msgspec.Meta(min_length=1)] | int

DOMAIN_ROLES = "repose/domain/roles"
"""The key under which X-Map-Roles holds the roles of no tenant, as Repose has it."""


class Tenant(msgspec.Struct):
    """The tenant that a token is scoped to."""

    id: Id
    name: str = ""


class Role(msgspec.Struct, rename="camel"):
    """A role, everywhere or in one tenant."""

    name: Annotated[str, msgspec.Meta(min_length=1)]
    tenant_id: Id | None = None


class User(msgspec.Struct):
    """The user of a token."""

    id: Id
    name: str = ""
    roles: list[Role] = []
    default_region: str = msgspec.field(name="RAX-AUTH:defaultRegion", default="")
    contact_id: str = msgspec.field(name="RAX-AUTH:contactId", default="")


class Token(msgspec.Struct):
    """The token itself."""

    expires: str
    tenant: Tenant | None = None
    authenticated_by: list[str] = msgspec.field(name="RAX-AUTH:authenticatedBy", default_factory=list)
    audit_ids: list[str] = []


class Access(msgspec.Struct):
    """A token and its user."""

    token: Token
    user: User
    catalog: list[dict[str, Any]] = msgspec.field(name="serviceCatalog", default_factory=list)
    impersonator: User | None = msgspec.field(name="RAX-AUTH:impersonator", default=None)


class Envelope(msgspec.Struct):
    """The answer to a validation."""

    access: Access


class IssuedToken(msgspec.Struct):
    """The token that a login brought."""

    id: Annotated[str, msgspec.Meta(min_length=1)]
    expires: str


class IssuedAccess(msgspec.Struct):
    """What a login needs to know."""

    token: IssuedToken


class Issued(msgspec.Struct):
    """The answer to a login."""

    access: IssuedAccess


class Group(msgspec.Struct):
    """A group of users."""

    id: Id


class Groups(msgspec.Struct):
    """The answer to the question for a user's groups (RAX-KSGRP)."""

    groups: list[Group] = msgspec.field(name="RAX-KSGRP:groups")


def identity_of(access: Access, groups: list[Group], expires_at: float) -> Identity:
    """Return who the token of ``access`` speaks for; ``expires_at`` is its expiry by our own clock.

    A token without a tenant of its own acts for the first that its roles name.
    """
    tenants = _tenants(access)
    tenant = access.token.tenant
    return Identity(
        user_id=str(access.user.id),
        user_name=access.user.name,
        project_id=tenants[0] if tenants else "",
        project_name=tenant.name if tenant else "",
        roles=tuple(dict.fromkeys(role.name for role in access.user.roles)),
        groups=tuple((str(group.id), 1.0) for group in groups),
        tenant_ids=tenants,
        expires_at=expires_at,
        audit_ids=tuple(access.token.audit_ids),
        catalog=json.dumps(access.catalog).encode() if access.catalog else None,
        extra={name: text for name, text in _extra(access).items() if text},
    )


def _tenants(access: Access) -> tuple[str, ...]:
    own = [access.token.tenant.id] if access.token.tenant else []
    of_roles = [role.tenant_id for role in access.user.roles if role.tenant_id is not None]
    return tuple(dict.fromkeys(str(tenant) for tenant in (*own, *of_roles) if tenant != ""))


def _extra(access: Access) -> dict[str, str]:
    impersonator = access.impersonator
    return {
        "token_expires": access.token.expires,
        "default_region": access.user.default_region,
        "contact_id": access.user.contact_id,
        "authenticated_by": ",".join(access.token.authenticated_by),
        "impersonator_id": str(impersonator.id) if impersonator else "",
        "impersonator_name": impersonator.name if impersonator else "",
        "impersonator_roles": ",".join(role.name for role in impersonator.roles) if impersonator else "",
        "map_roles": _map_of_roles(access),
    }


def _map_of_roles(access: Access) -> str:
    roles: dict[str, list[str]] = {}
    for role in access.user.roles:
        tenant = DOMAIN_ROLES if role.tenant_id is None else str(role.tenant_id)
        roles.setdefault(tenant, []).append(role.name)
    return base64.b64encode(json.dumps(roles).encode()).decode() if roles else ""
