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
from weakref import ref

import structlog

from metaproxy.clock import Clock, monotonic
from metaproxy.exchange import HeaderPairs, Identity, roles_in
from metaproxy.memo import Memo
from metaproxy.protocol import identity_headers as names
from metaproxy.protocol.identity_headers import Family
from metaproxy.telemetry.metrics import Metrics

MAX_CATALOG_BYTES = 16384
"""The longest line of a head that Nova reads by default."""
MAX_MEMO_ENTRIES = 1024
MAX_MEMO_BYTES = 4096
"""Octets of the values of one identity. Larger ones are rendered each time, so that memory is bounded."""
REPEAT_SECONDS = 60.0
"""Seconds between two lines of the log about catalogs that are too large."""

logger = structlog.get_logger(__name__)

TOKEN_EXPIRES = "token_expires"  # noqa: S105 - the name of an attribute
"""The key of ``Identity.extra`` with the expiry as identity wrote it."""

_CONTROL = {code: f"%{code:02X}" for code in (*range(0x20), 0x7F)}
_LIST_CONTROL = _CONTROL | {ord(","): "%2C"}

# The fields of a service token's identity: the twin of each field of a user's.
_TWINS = {
    template.format(twin="").encode(): template.format(twin="-service").encode()
    for template, _ in names.OPENSTACK
}
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
        self._memo: Memo[int, tuple[ref[Identity], HeaderPairs]] = Memo(MAX_MEMO_ENTRIES, MAX_MEMO_BYTES)
        self._renderer = self._remembered

    def render(self, identity: Identity) -> HeaderPairs:
        """Return the header fields that tell the upstream of ``identity``; report too large a catalog."""
        self._report(identity.catalog)
        return self._rendered(identity)

    def applied(self, identity: Identity) -> Identity:
        """Return ``identity`` as it is kept: it renders its header fields when they are asked for.

        It is without the attributes that only fields would need which are not sent.
        """
        self._report(identity.catalog)
        extra = identity.extra
        if not self._repose and TOKEN_EXPIRES in extra:
            extra = {name: value for name, value in extra.items() if name != TOKEN_EXPIRES}
        catalog = identity.catalog if self._catalog(identity.catalog) else None
        return replace(identity, renderer=self._renderer, catalog=catalog, extra=extra)

    def _remembered(self, identity: Identity) -> HeaderPairs:
        found = self._memo.get(id(identity))
        # The memo keeps no identity alive; it looks whether the id still means the same one.
        if found is not None and found[0]() is identity:
            return found[1]
        pairs = self._rendered(identity)
        size = sum([len(value) for _, value in pairs])
        return self._memo.keep(id(identity), (ref(identity), pairs), size)[1]

    def _rendered(self, identity: Identity) -> HeaderPairs:
        pairs = [(names.STATUS.decode(), names.CONFIRMED.decode())]
        if self._openstack:
            pairs += _openstack(identity)
        if self._repose:
            pairs += _repose(identity)
        return _encoded(pairs + self._catalog(identity.catalog))

    def _catalog(self, catalog: bytes | None) -> list[tuple[str, str]]:
        """The fields with ``catalog`` that are not too large."""
        return [pair for pair in self._catalog_fields(catalog) if len(pair[1]) <= self._max_catalog_bytes]

    def _catalog_fields(self, catalog: bytes | None) -> list[tuple[str, str]]:
        pairs: list[tuple[str, str]] = []
        if not self.send_catalog or not catalog:
            return pairs
        if self._openstack:
            pairs.append((names.OPENSTACK_CATALOG, catalog.decode()))
        if self._repose:
            pairs.append((names.REPOSE_CATALOG, base64.b64encode(catalog).decode()))
        return pairs

    def _report(self, catalog: bytes | None) -> None:
        """Count the fields with ``catalog`` that are too large, and log one now and then."""
        for name, value in self._catalog_fields(catalog):
            if len(value) > self._max_catalog_bytes:
                self._left_out.add((name,))
                self._log(name, len(value))

    def _log(self, name: str, size: int) -> None:
        now = self._monotonic()
        if now - self._logged_at >= REPEAT_SECONDS:
            self._logged_at = now
            logger.warning(
                "a catalog is too large to be sent; it is left out",
                field=name,
                bytes=size,
                max_catalog_bytes=self._max_catalog_bytes,
            )


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
    return replace(identity, project_id=tenant_id, project_name=project_name, roles=roles, extra=extra)


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
        (names.REPOSE_TOKEN_EXPIRES, _clean(identity.extra.get(TOKEN_EXPIRES, ""))),
    ]
    pairs += [(name, _clean(identity.extra.get(key, ""))) for name, key in names.REPOSE_EXTRA]
    return pairs


def _value(claim: str | tuple[str, ...]) -> str:
    if isinstance(claim, tuple):
        return ",".join(_member(member) for member in claim)
    return _clean(claim)


def _member(text: str) -> str:
    """Return a name as a member of a list."""
    return _edges(text if text.isprintable() and "," not in text else text.translate(_LIST_CONTROL))


def _clean(text: str) -> str:
    return _edges(text if text.isprintable() else text.translate(_CONTROL))


def _edges(text: str) -> str:
    """Return ``text`` with the blanks at its ends encoded: who reads the field would take them off."""
    inner = text.strip()
    if inner == text:
        return text
    start = len(text) - len(text.lstrip())
    return quote(text[:start]) + inner + quote(text[start + len(inner) :])
