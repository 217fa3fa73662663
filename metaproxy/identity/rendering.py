"""An identity as header fields for the upstream.

Facts this file rests on. Values are UTF-8 on the wire, as keystonemiddleware's are once they have
passed a WSGI server. A field value holds no control character and no blanks at its ends (RFC 9110 §5.5),
and a list is parted by commas: these are percent-encoded where a name contains them, so that no name,
however it came into identity, can add a field or a role, or pass for another. Fields without a value are
left out.
"""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from urllib.parse import quote

import structlog

from metaproxy.clock import Clock, monotonic
from metaproxy.exchange import HeaderPairs, Identity, roles_in
from metaproxy.protocol import identity_headers as names
from metaproxy.protocol.identity_headers import Family
from metaproxy.telemetry.metrics import Metrics

MAX_CATALOG_BYTES = 16384
"""The longest line of a head that Nova reads by default."""
REPEAT_SECONDS = 60.0
"""Seconds between two lines of the log about catalogs that are too large."""

logger = structlog.get_logger(__name__)

_CONTROL = {code: f"%{code:02X}" for code in (*range(0x20), 0x7F)}
_LIST_CONTROL = _CONTROL | {ord(","): "%2C"}

# The fields of a service token's identity: the twin of each field of a user's.
_TWINS = {
    template.format(twin="").encode(): template.format(twin="-service").encode()
    for template, _ in names.OPENSTACK
}
# The fields that say the same for every tenant.
_KEPT = frozenset({names.STATUS, names.OPENSTACK_CATALOG.encode(), names.REPOSE_CATALOG.encode()})

DELEGATED: HeaderPairs = ((names.STATUS, names.INVALID),)
"""The fields that the upstream gets for a request without a valid token."""
SERVICE_DELEGATED: HeaderPairs = ((names.SERVICE_STATUS, names.INVALID),)
"""The same of a service token that is not valid."""


class IdentityHeaders:
    """Renders identities in the families that the operator chose.

    Args:
        families: ``openstack`` (keystonemiddleware's fields), ``repose`` (its X-PP-* and relatives).
        send_catalog: whether the service catalog goes along.
        max_catalog_bytes: the largest value of a field with the catalog. A larger one is left out, logged and
            counted: no server reads a head with it, so every request of its user would fail.
        metrics: where fields that are left out are counted.
        monotonic: measures the time between two lines of the log.
    """

    def __init__(
        self,
        families: Sequence[Family] = ("openstack",),
        *,
        send_catalog: bool = False,
        max_catalog_bytes: int = MAX_CATALOG_BYTES,
        metrics: Metrics | None = None,
        monotonic: Clock = monotonic,
    ) -> None:
        self._openstack = "openstack" in families
        self._repose = "repose" in families
        self.send_catalog = send_catalog
        self._max_catalog_bytes = max_catalog_bytes
        self._left_out = (metrics or Metrics()).counter(
            "metaproxy_catalogs_left_out",
            "Catalogs that were too large for a header field.",
            ("field",),
        )
        self._monotonic = monotonic
        self._logged_at = float("-inf")

    def render(self, identity: Identity) -> HeaderPairs:
        """Return the header fields that tell the upstream of ``identity``."""
        pairs = [(names.STATUS.decode(), names.CONFIRMED.decode())]
        if self._openstack:
            pairs += _openstack(identity)
        if self._repose:
            pairs += _repose(identity)
        if self.send_catalog and identity.catalog:
            pairs += self._catalog(identity.catalog)
        return _encoded(pairs)

    def applied(self, identity: Identity) -> Identity:
        """Return ``identity`` with its header fields, and without the catalog they may carry."""
        return replace(identity, header_pairs=self.render(identity), catalog=None)

    def _catalog(self, catalog: bytes) -> list[tuple[str, str]]:
        pairs = []
        if self._openstack:
            pairs.append((names.OPENSTACK_CATALOG, catalog.decode()))
        if self._repose:
            pairs.append((names.REPOSE_CATALOG, base64.b64encode(catalog).decode()))
        return [pair for pair in pairs if self._fits(*pair)]

    def _fits(self, name: str, value: str) -> bool:
        if len(value) <= self._max_catalog_bytes:
            return True
        self._left_out.add((name,))
        now = self._monotonic()
        if now - self._logged_at >= REPEAT_SECONDS:
            self._logged_at = now
            logger.warning(
                "a catalog is too large to be sent; it is left out",
                field=name,
                bytes=len(value),
                max_catalog_bytes=self._max_catalog_bytes,
            )
        return False


@cache
def _octets(name: str) -> bytes:
    """Return a field's name in bytes: one object for all identities, because there may be very many."""
    return name.encode()


def service_twins(identity: Identity) -> HeaderPairs:
    """Return the fields that tell the upstream of a service token's rendered identity."""
    twins = tuple((_TWINS[name], value) for name, value in identity.header_pairs if name in _TWINS)
    return ((names.SERVICE_STATUS, names.CONFIRMED), *twins)


def acting_for(identity: Identity, tenant_id: str, tenants: Sequence[str]) -> Identity:
    """Return a rendered ``identity`` that acts for ``tenant_id`` in a request that is for ``tenants``.

    The name of another tenant than its own is not known. The same again if nothing changes.
    """
    roles, extra = identity.roles_in(tenants), identity.extra
    if identity.impersonator_assignments:
        of_impersonator = ",".join(roles_in(identity.impersonator_assignments, tenants))
        extra = {**extra, "impersonator_roles": of_impersonator}
    if (tenant_id, roles, extra) == (identity.project_id, identity.roles, identity.extra):
        return identity
    project_name = identity.project_name if tenant_id == identity.project_id else ""
    acting = replace(identity, project_id=tenant_id, project_name=project_name, roles=roles, extra=extra)
    return replace(acting, header_pairs=_rendered_again(acting))


def _rendered_again(identity: Identity) -> HeaderPairs:
    """Render the families anew that were rendered of ``identity``, which has changed; keep the catalog."""
    told = {name for name, _ in identity.header_pairs}
    pairs: list[tuple[str, str]] = []
    if names.OPENSTACK_ADMIN_PROJECT.encode() in told:  # never without a value
        pairs += _openstack(identity)
    if names.REPOSE_AUTHORIZATION.encode() in told:  # never without a value
        pairs += _repose(identity)
    kept = [pair for pair in identity.header_pairs if pair[0] in _KEPT]
    return (*kept, *_encoded(pairs))


def _encoded(pairs: Iterable[tuple[str, str]]) -> HeaderPairs:
    return tuple((_octets(name), value.encode(errors="replace")) for name, value in pairs if value)


def _openstack(identity: Identity) -> list[tuple[str, str]]:
    fields = [(template.format(twin=""), attribute) for template, attribute in names.OPENSTACK]
    pairs = [
        (name, _value(getattr(identity, attribute)))
        for name, attribute in (*fields, *names.OPENSTACK_DEPRECATED)
    ]
    pairs.append((names.OPENSTACK_SYSTEM_SCOPE, _clean(identity.system_scope)))
    # An identity that does not say is the admin project's, as keystoneauth reads it.
    pairs.append((names.OPENSTACK_ADMIN_PROJECT, str(identity.is_admin_project is not False)))
    return pairs


def _repose(identity: Identity) -> list[tuple[str, str]]:
    tenant = _clean(identity.project_id)
    groups = ",".join(f"{_member(name)};q={quality}" for name, quality in identity.groups)
    pairs = [
        (names.REPOSE_AUTHORIZATION, f"Proxy {tenant}" if tenant else "Proxy"),
        (names.REPOSE_USER, _clean(identity.user_name or identity.user_id)),
        (names.REPOSE_GROUPS, groups),
        (names.REPOSE_TOKEN_EXPIRES, _clean(identity.extra.get("token_expires", ""))),
    ]
    pairs += [(name, _clean(identity.extra.get(key, ""))) for name, key in names.REPOSE_EXTRA]
    return pairs


def _value(claim: str | tuple[str, ...]) -> str:
    if isinstance(claim, tuple):
        return ",".join(_member(member) for member in claim)
    return _clean(claim)


def _member(text: str) -> str:
    """Return a name as a member of a list."""
    return _edges(text.translate(_LIST_CONTROL))


def _clean(text: str) -> str:
    return _edges(text.translate(_CONTROL))


def _edges(text: str) -> str:
    """Return ``text`` with the blanks at its ends encoded: who reads the field would take them off."""
    inner = text.strip()
    if inner == text:
        return text
    start = len(text) - len(text.lstrip())
    return quote(text[:start]) + inner + quote(text[start + len(inner) :])
