"""A token's document of the Identity API v2.0, as types, and the identity that it makes.

Rackspace's extensions stand under their prefixed names. A role that names a tenant gives the token that
tenant too, and counts there alone; ids may be written as numbers. Optional fields may be absent or null. A
token that is bound to something (``bind``) is not valid by itself, so it is rejected. The catalog is decoded
only if it is wanted.
"""

import base64
import json
from collections.abc import Iterable
from typing import Annotated

import msgspec

from metaproxy.exchange import Assignment, Identity, roles_in
from metaproxy.identity.keystone_v3_token import NULL, access_rules, is_empty
from metaproxy.identity.validator import TokenRejected

Id = Annotated[str, msgspec.Meta(min_length=1)] | int

DOMAIN_ROLES = "repose/domain/roles"
"""The key under which X-Map-Roles holds the roles of no tenant, as Repose has it."""


class Tenant(msgspec.Struct):
    """The tenant that a token is scoped to."""

    id: Id
    name: str | None = None


class Role(msgspec.Struct, rename="camel"):
    """A role, everywhere or in one tenant."""

    name: Annotated[str, msgspec.Meta(min_length=1)]
    tenant_id: Id | None = None


class User(msgspec.Struct):
    """The user of a token."""

    id: Id
    name: str | None = None
    roles: list[Role] | None = None
    default_region: str | None = msgspec.field(name="RAX-AUTH:defaultRegion", default=None)
    contact_id: str | int | None = msgspec.field(name="RAX-AUTH:contactId", default=None)


class Token(msgspec.Struct):
    """The token itself."""

    expires: str
    tenant: Tenant | None = None
    authenticated_by: list[str | None] | None = msgspec.field(name="RAX-AUTH:authenticatedBy", default=None)
    audit_ids: list[str | None] | None = None
    bind: msgspec.Raw = NULL
    application_credential: msgspec.Raw = NULL


class Access(msgspec.Struct):
    """A token and its user."""

    token: Token
    user: User
    catalog: msgspec.Raw = msgspec.field(name="serviceCatalog", default=NULL)
    impersonator: User | None = msgspec.field(name="RAX-AUTH:impersonator", default=None)


class Envelope(msgspec.Struct):
    """The answer to a validation."""

    access: Access


class IssuedToken(msgspec.Struct):
    """The token that a login brought."""

    id: Annotated[str, msgspec.Meta(min_length=1)]
    expires: str


class IssuedAccess(msgspec.Struct):
    """The fields that a login needs."""

    token: IssuedToken


class Issued(msgspec.Struct):
    """The answer to a login."""

    access: IssuedAccess


class Group(msgspec.Struct):
    """A group of users."""

    id: Id


class Groups(msgspec.Struct):
    """The answer to the question for a user's groups (RAX-KSGRP)."""

    groups: list[Group] | None = msgspec.field(name="RAX-KSGRP:groups")


def identity_of(access: Access, groups: list[Group], expires_at: float, *, catalog: bool = False) -> Identity:
    """Return who the token of ``access`` speaks for; ``expires_at`` is its expiry by our own clock.

    A token without a tenant of its own acts for the first that its roles name. Raises TokenRejected.
    """
    if not is_empty(access.token.bind):
        raise TokenRejected("token_bound")
    # This version knows no access rules. A service that tells some all the same means them.
    access_rules(access.token.application_credential, None)
    tenants = _tenants(access)
    tenant = access.token.tenant
    acts_for = tenants[0] if tenants else ""
    assignments = _assignments(access.user)
    of_impersonator = _assignments(access.impersonator)
    return Identity(
        user_id=str(access.user.id),
        user_name=access.user.name or "",
        project_id=acts_for,
        project_name=(tenant.name if tenant else None) or "",
        roles=roles_in(assignments, (acts_for,)),
        assignments=assignments,
        impersonator_assignments=of_impersonator,
        roles_are_global=not tenants,
        groups=tuple((str(group.id), 1.0) for group in groups),
        tenant_ids=tenants,
        expires_at=expires_at,
        audit_ids=tuple(audit_id or "" for audit_id in access.token.audit_ids or ()),
        catalog=_catalog(access.catalog) if catalog else None,
        extra={
            name: text
            for name, text in _extra(access, roles_in(of_impersonator, (acts_for,))).items()
            if text
        },
    )


def _catalog(services: msgspec.Raw) -> bytes | None:
    found = msgspec.json.decode(services)
    return json.dumps(found).encode() if found else None


def _tenants(access: Access) -> tuple[str, ...]:
    own = [access.token.tenant.id] if access.token.tenant else []
    of_roles = [role.tenant_id for role in access.user.roles or () if role.tenant_id is not None]
    return tuple(dict.fromkeys(str(tenant) for tenant in (*own, *of_roles) if tenant != ""))


def _assignments(user: User | None) -> tuple[Assignment, ...]:
    return tuple(
        Assignment(role.name, "" if role.tenant_id is None else str(role.tenant_id))
        for role in (user and user.roles) or ()
    )


def _extra(access: Access, impersonator_roles: Iterable[str]) -> dict[str, str]:
    impersonator = access.impersonator
    return {
        "token_expires": access.token.expires,
        "default_region": access.user.default_region or "",
        "contact_id": str(access.user.contact_id or ""),
        "authenticated_by": ",".join(filter(None, access.token.authenticated_by or ())),
        "impersonator_id": str(impersonator.id) if impersonator else "",
        "impersonator_name": (impersonator.name if impersonator else None) or "",
        "impersonator_roles": ",".join(impersonator_roles),
        "map_roles": _map_of_roles(access),
    }


def _map_of_roles(access: Access) -> str:
    roles: dict[str, list[str]] = {}
    for role in access.user.roles or ():
        tenant = DOMAIN_ROLES if role.tenant_id is None else str(role.tenant_id)
        roles.setdefault(tenant, []).append(role.name)
    return base64.b64encode(json.dumps(roles).encode()).decode() if roles else ""
