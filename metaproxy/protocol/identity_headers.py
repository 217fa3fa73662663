"""The header fields in which an upstream is told who is asking, as data.

Facts this file rests on. An API behind keystonemiddleware's contract trusts these fields without
looking at the token, so none that a client wrote may reach it. A WSGI or CGI server hands a field to
its application as ``HTTP_`` and the name with every ``-`` turned into ``_`` (PEP 3333, RFC 3875
§4.1.18), some turn every character that is neither letter nor digit into ``_``: ``X_User_Id`` and
``X.User.Id`` then are the same variable as ``X-User-Id``. Every user field has a twin for the service
token, with ``-Service`` after the X. The token's own fields are not identity and pass, but only under
the spelling that is validated: another spelling could bring the upstream another token.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

from metaproxy.protocol.headers import Header

Family = Literal["openstack", "repose"]

TOKEN = b"x-auth-token"
STORAGE_TOKEN = b"x-storage-token"
SERVICE_TOKEN = b"x-service-token"
TOKEN_FIELDS = frozenset({TOKEN, STORAGE_TOKEN, SERVICE_TOKEN})

STATUS = b"x-identity-status"
SERVICE_STATUS = b"x-service-identity-status"
CONFIRMED = b"Confirmed"
INVALID = b"Invalid"

# Header field and the attribute of an identity that it carries. "{twin}" is empty for the user's
# token and "-service" for the service token.
OPENSTACK = (
    ("x{twin}-user-id", "user_id"),
    ("x{twin}-user-name", "user_name"),
    ("x{twin}-user-domain-id", "user_domain_id"),
    ("x{twin}-user-domain-name", "user_domain_name"),
    ("x{twin}-project-id", "project_id"),
    ("x{twin}-project-name", "project_name"),
    ("x{twin}-project-domain-id", "project_domain_id"),
    ("x{twin}-project-domain-name", "project_domain_name"),
    ("x{twin}-domain-id", "domain_id"),
    ("x{twin}-domain-name", "domain_name"),
    ("x{twin}-roles", "roles"),
)

# The names that keystonemiddleware deprecated but still sends; the user's alone, without twins.
OPENSTACK_DEPRECATED = (
    ("x-tenant-id", "project_id"),
    ("x-tenant-name", "project_name"),
    ("x-tenant", "project_name"),
    ("x-user", "user_name"),
    ("x-role", "roles"),
)

OPENSTACK_SYSTEM_SCOPE = "openstack-system-scope"
OPENSTACK_ADMIN_PROJECT = "x-is-admin-project"
OPENSTACK_CATALOG = "x-service-catalog"

REPOSE_AUTHORIZATION = "x-authorization"
REPOSE_USER = "x-pp-user"
REPOSE_GROUPS = "x-pp-groups"
REPOSE_CATALOG = "x-catalog"
REPOSE_TOKEN_EXPIRES = "x-token-expires"  # noqa: S105 - the name of a field

# Header field and the key of ``Identity.extra`` that it carries.
REPOSE_EXTRA = (
    ("x-default-region", "default_region"),
    ("x-contact-id", "contact_id"),
    ("x-authenticated-by", "authenticated_by"),
    ("x-impersonator-id", "impersonator_id"),
    ("x-impersonator-name", "impersonator_name"),
    ("x-impersonator-roles", "impersonator_roles"),
    ("x-map-roles", "map_roles"),
)

# Fields of Repose that steer what stands behind it; never sent by us, never let through.
REPOSE_INTERNAL = ("x-relevant-roles", "x-pp-next-route", "x-delegated")


def _user_fields() -> Iterable[str]:
    for template, _ in (*OPENSTACK, *OPENSTACK_DEPRECATED, *REPOSE_EXTRA):
        yield template.format(twin="")
    yield from (STATUS.decode(), OPENSTACK_SYSTEM_SCOPE, OPENSTACK_ADMIN_PROJECT, OPENSTACK_CATALOG)
    yield from (REPOSE_AUTHORIZATION, REPOSE_USER, REPOSE_GROUPS, REPOSE_CATALOG, REPOSE_TOKEN_EXPIRES)
    yield from REPOSE_INTERNAL


def _reserved() -> Iterable[bytes]:
    for name in _user_fields():
        yield name.encode()
        yield name.replace("x-", "x-service-", 1).encode()


RESERVED: frozenset[bytes] = frozenset(_reserved())
"""Every identity header field, lower-case with hyphens, twins included."""

# Letters in lower case, digits as they are, everything else a hyphen: what a CGI gateway sees.
_GATEWAY = bytes(
    ord(character.lower()) if character.isascii() and character.isalnum() else ord("-")
    for character in map(chr, range(256))
)
_GUARDED = RESERVED | TOKEN_FIELDS


def strip(headers: Sequence[Header]) -> list[Header]:
    """Return ``headers`` without every spelling of an identity header, order kept.

    Fields of the tokens stay where their name is spelled as it is validated: lower case, hyphens.
    """
    return [
        pair for pair in headers if pair[0].translate(_GATEWAY) not in _GUARDED or pair[0] in TOKEN_FIELDS
    ]


def is_reserved(name: bytes) -> bool:
    """Say whether a gateway could take a field called ``name`` for an identity header."""
    return name.translate(_GATEWAY) in RESERVED
