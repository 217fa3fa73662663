"""Stage 4: may they.

Everything that a path says (where its tenant stands, its methods, its rules) is worked out once for paths of
a kind and kept; a request then costs a lookup and a few comparisons.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import NamedTuple

from starlette.types import ASGIApp, Scope

from metaproxy.check import Check, TargetCheck, always, no_application
from metaproxy.exchange import Exchange, Identity
from metaproxy.identity.acting import Tenants
from metaproxy.memo import Memo
from metaproxy.protocol.access_rules import AccessRules, Authorization, PathRules, allows
from metaproxy.protocol.compute_api import (
    is_top_level_resource,
    kind_of_path,
    known_operations,
    resource_path,
)
from metaproxy.protocol.faults import Fault
from metaproxy.protocol.mount import NOT_MOUNTED, Mount
from metaproxy.protocol.names import VERSIONS, has_bare_tenant
from metaproxy.protocol.routes import RouteTable, segments_of, template_names
from metaproxy.settings.section import chosen
from metaproxy.verdicts import PASS, Verdict

TENANT = "tenant_id"
MEMO_ENTRIES = 1024
MEMO_PATH_LENGTH = 512
"""Longer paths are worked out each time: memory is bounded in bytes, not only in entries."""


class _PathPolicy(NamedTuple):
    """The common facts of paths of a kind. Tenants are given by their segments' positions."""

    tenant_of_operation: int
    """-1 for none."""
    tenants: Sequence[int]
    """Segments that may be a tenant: not a collection in its place."""
    methods: frozenset[str] | None
    rules: PathRules

    def tenants_in(self, path: str) -> list[str]:
        segments = segments_of(path)
        found = [segments[at] for at in self.tenants]
        found = [segment for segment in found if not is_top_level_resource(segment)]
        if self.tenant_of_operation >= 0:
            found.insert(0, segments[self.tenant_of_operation])
        return found

    def names_no_tenant_but(self, tenant: str, scope: Scope) -> bool:
        tenants = self.tenants_in(scope["path"])
        return tenants.count(tenant) == len(tenants)


class Authorize(Check):
    """Lets a request through whose identity may act on the path's tenant, with its method and roles.

    Answers 403 where tenant or roles do not fit (404 if masked), 405 with Allow to a method that a
    known operation does not have. Reads ``exchange.identity``; a request without one passes the tenant
    rule, for it has come to an anonymous path, but no rule that asks for a role. An identity with
    several tenants acts from here on for the one in the path (``exchange.identity``, headers).

    Args:
        settings: who may do what; or else its options by name: ``rules``, ``tenant_paths``, …
        tenant_prefixes: prefixes of the token's tenants that paths leave out.
    """

    def __init__(
        self,
        app: ASGIApp = no_application,
        /,
        settings: Authorization | None = None,
        *,
        tenant_prefixes: Sequence[str] = (),
        mount: Mount = NOT_MOUNTED,
        **options: object,
    ) -> None:
        settings = chosen(Authorization, settings, options)
        self.app = app
        self._operations = known_operations()
        self._tenant_in_path = settings.tenant_in_path
        self._tenant_table = _tenant_table(settings.tenant_paths, mount)
        self._tenants = Tenants(settings.tenant_exempt_roles, tenant_prefixes)
        self._rules = AccessRules(settings.rules, mount)
        self._methods = settings.methods
        self._masked = settings.mask_as_not_found
        tables = self._operations, self._tenant_table, self._rules
        self.holds_for_kinds = all(table.is_shaped for table in tables)
        self._policies: Memo[tuple[str, str], _PathPolicy] = Memo(MEMO_ENTRIES, MEMO_PATH_LENGTH)

    def decide(self, exchange: Exchange, scope: Scope) -> Verdict:
        """Decide; write into ``exchange`` and ``scope`` for which tenant the identity acts."""
        path, method = scope["path"], scope["method"]
        identity = exchange.identity
        policy = self._policy(path, identity)
        if identity is not None:
            tenants = policy.tenants_in(path)
            if any(tenant != identity.project_id for tenant in tenants):
                acting = self._tenants.acting_on(identity, tenants)
                if acting is None:
                    return self._forbidden("tenant_mismatch")
                if acting is not identity:
                    former = frozenset(identity.header_pairs)
                    others = [pair for pair in scope["headers"] if pair not in former]
                    scope["headers"] = [*others, *acting.header_pairs]
                identity = exchange.identity = acting
        if policy.methods is not None and method not in policy.methods:
            return _method_fault(policy.methods)
        if policy.rules and not allows(policy.rules, method, identity.roles if identity else ()):
            return self._forbidden("role_missing")
        return PASS

    def target_check(self, exchange: Exchange, scope: Scope) -> TargetCheck | None:
        """Let paths pass whose tenant is the one that the identity acts for."""
        identity = exchange.identity
        if self.decide(exchange, scope) is not PASS or exchange.identity is not identity:
            return None
        if identity is None:
            return always
        policy = self._policy(scope["path"], identity)
        return partial(policy.names_no_tenant_but, identity.project_id)

    def _policy(self, path: str, identity: Identity | None) -> _PathPolicy:
        kind = kind_of_path(path) if self.holds_for_kinds else path
        tenant = identity.project_id if self._rules.tells_tenants and identity is not None else ""
        policy = self._policies.get((kind, tenant))
        if policy is None:
            policy = self._policies.keep((kind, tenant), self._policy_of(path, tenant), len(kind))
        return policy

    def _policy_of(self, path: str, tenant: str) -> _PathPolicy:
        # A tenant's path without a version is judged as the one with a version that it is a name of.
        is_bare = has_bare_tenant(segments_of(path), self._rules.collections)
        versioned = f"/{VERSIONS[0]}{path}" if is_bare else path
        named = versioned
        operation = self._operations.match(named)
        if operation is None:
            named = resource_path(versioned)
            operation = self._operations.match(named)
        first = -1
        others: list[int] = []
        if self._tenant_in_path:
            first = self._operations.positions(named, TENANT)[0] - is_bare if operation is not None else -1
            others = self._tenant_table.positions(path, TENANT)
            if is_bare:
                others += [at - 1 for at in self._tenant_table.positions(versioned, TENANT) if at > 0]
        return _PathPolicy(
            first,
            others,
            operation.value if operation is not None and self._methods else None,
            self._rules.for_path(path, tenant),
        )

    def _forbidden(self, reason: str) -> Fault:
        if self._masked:
            return Fault(404, "The resource could not be found.", reason=reason)
        return Fault(403, "This is forbidden to you.", reason=reason)


def _tenant_table(templates: Iterable[str], mount: Mount) -> RouteTable[None]:
    """Return the table of ``templates``: one that names a version speaks for every version."""
    table: RouteTable[None] = RouteTable()
    for written in templates:
        for template in mount.templates(written):
            _, first, rest = (*template.split("/", 2), "")[:3]
            for version in VERSIONS if first in VERSIONS and rest else (first,):
                text = f"/{version}/{rest}" if rest else template
                if TENANT in template_names(text):
                    table.add(text, None)
    return table


def _method_fault(methods: frozenset[str]) -> Fault:
    allow = ", ".join(sorted(methods)).encode()
    message = "The resource does not have this method."
    return Fault(405, message, reason="method_not_allowed", headers=((b"allow", allow),))
