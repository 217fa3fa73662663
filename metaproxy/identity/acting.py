"""The tenants that an identity may act on, and the roles that count there.

Facts this file rests on. A token of the Identity API v2.0 may have roles in several tenants, and roles
without a tenant, which were given for all of them. A role counts in its own tenant alone. So the roles of a
request are those of all tenants and those of the tenant that its path names; a path that names none is for
the token's own tenant. Tokens of v3 have one scope, and all their roles have that scope.
"""

from collections.abc import Iterable, Sequence
from weakref import ref

from metaproxy.exchange import Identity
from metaproxy.identity.rendering import acting_for
from metaproxy.memo import Memo

MAX_TENANTS_LENGTH = 512
"""Longer names of tenants are looked up each time, so that memory is bounded."""


class Tenants:
    """Finds out as whom a request acts on the tenants of its path.

    Args:
        exempt_roles: roles whose owners may act on any tenant, if they were given for all tenants.
        prefixes: prefixes of tenants that paths leave out.
    """

    def __init__(self, exempt_roles: Iterable[str] = (), prefixes: Iterable[str] = ()) -> None:
        self._exempt_roles = frozenset(exempt_roles)
        self._prefixes = tuple(prefixes)
        self._memo: Memo[tuple[int, tuple[str, ...]], tuple[ref[Identity], Identity]] = Memo(
            max_size=MAX_TENANTS_LENGTH
        )

    def acting_on(self, identity: Identity, tenants: Sequence[str]) -> Identity | None:
        """Return ``identity`` as it acts on ``tenants``, all of one path; None if it may not.

        The same again if nothing changes. A role counts if it counts in every one of ``tenants``.
        """
        key = id(identity), tuple(tenants)
        found = self._memo.get(key)
        # The memo keeps no token's identity alive, so it checks that the id still means the same one.
        if found is not None and found[0]() is identity:
            return found[1]
        acting = self._find_out(identity, tenants)
        if acting is None or acting is identity:
            return acting
        return self._memo.keep(key, (ref(identity), acting), sum(map(len, tenants)))[1]

    def _find_out(self, identity: Identity, tenants: Sequence[str]) -> Identity | None:
        project_id, names = identity.project_id, []
        for tenant in tenants:
            own = self._own_name(identity, tenant)
            if own is not None:
                project_id = own
            elif not self._is_exempt(identity):
                return None
            names.append(own or tenant)
        return acting_for(identity, project_id, names)

    def _own_name(self, identity: Identity, tenant: str) -> str | None:
        """Return the tenant of the token that ``tenant`` is a name of, or None."""
        own = (identity.project_id, *identity.tenant_ids)
        names = (tenant, *(prefix + tenant for prefix in self._prefixes))
        return next((name for name in names if name in own), None)

    def _is_exempt(self, identity: Identity) -> bool:
        """Return whether ``identity`` may act on any tenant. The roles of a domain do not reach beyond it."""
        if identity.is_admin_project is False or self._exempt_roles.isdisjoint(identity.roles_in(("",))):
            return False
        return bool(identity.project_id or identity.system_scope or identity.roles_are_global)
