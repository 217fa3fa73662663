"""Rules that say which roles may use which method on which path.

Facts this file rests on. Rules are read in order and the first that speaks of resource and method decides;
where none does, the request is allowed. A rule speaks of a resource under all its names
(``resource_table``), unless it is exact. A rule without roles lets nobody through, which closes what
rules before it have not opened. GET speaks of HEAD too (RFC 9110 §9.3.2). The lines of Repose's
simple-rbac fit this model: a path template, methods or ALL, roles of which any is enough, or ANY.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeAlias

from pydantic import Field

from metaproxy.protocol.compute_api import TENANT_PATHS, resource_path, with_head
from metaproxy.protocol.mount import NOT_MOUNTED, Mount
from metaproxy.protocol.option_values import Template
from metaproxy.protocol.resource_table import ResourceTable
from metaproxy.protocol.routes import Match, template_names
from metaproxy.settings.section import Finding, Section, alone
from metaproxy.settings.values import Method, Text

TENANT_EXEMPT_ROLES = ("admin",)
"""Roles that may name any tenant, if nothing else is configured."""


class AccessRule(Section):
    """One path, the methods concerned, and the roles that may use them."""

    path: Template
    """Path template that the rule is for, under every version, with a tenant in the path and without."""
    methods: Annotated[tuple[Method, ...], Field(min_length=1)] = ("ALL",)
    """Methods that the rule is for; ALL is every one, GET includes HEAD."""
    roles: tuple[Text, ...]
    """Roles of which the caller needs one; [ANY] lets everybody through, [] nobody."""
    all_roles: bool = False
    """True if the caller needs every one of roles, not just one."""
    exact: bool = False
    """True if the rule is for paths as written alone: no other version or form, format or final slash."""

    @property
    def is_for_any_role(self) -> bool:
        """True if the rule lets callers through whatever their roles."""
        return "ANY" in self.roles

    @property
    def is_for_any_method(self) -> bool:
        """True if the rule is for requests whatever their method."""
        return "ALL" in self.methods

    def findings(self) -> Iterator[Finding]:
        """ALL and ANY leave nothing to add."""
        yield from alone("methods", self.methods, "ALL")
        yield from alone("roles", self.roles, "ANY")


class Authorization(Section):
    """Access rules and the tenant check."""

    tenant_in_path: bool = True
    """True if the tenant that a path names must be the token's project."""
    tenant_paths: tuple[Template, ...] = TENANT_PATHS
    """The place of the tenant in a path, as {tenant_id}; deployments mount the API under other prefixes."""
    tenant_exempt_roles: tuple[Text, ...] = TENANT_EXEMPT_ROLES
    """Roles whose owners may name any tenant; not a domain's, nor one tenant's, nor without a scope."""
    methods: bool = True
    """True if known operations refuse methods that they do not have, with 405 and Allow."""
    rules: tuple[AccessRule, ...] = ()
    """Roles needed by path and method; the first rule that matches decides, no match allows."""
    mask_as_not_found: bool = False
    """True if a refusal is told as 404 in place of 403."""

    def findings(self) -> Iterator[Finding]:
        """A path that is to name a tenant does."""
        for index, template in enumerate(self.tenant_paths):
            if "tenant_id" not in template_names(template):
                yield ("tenant_paths", index), f"{template} does not capture {{tenant_id}}"


@dataclass(frozen=True, slots=True)
class _Compiled:
    position: int
    methods: frozenset[str] | None
    roles: frozenset[str] | None
    all_roles: bool
    exact: bool

    def speaks_of(self, method: str) -> bool:
        return self.methods is None or method in self.methods

    def lets(self, roles: Sequence[str]) -> bool:
        if self.roles is None:
            return True
        if self.all_roles:
            return bool(self.roles) and self.roles.issubset(roles)
        return not self.roles.isdisjoint(roles)


PathRules: TypeAlias = tuple[tuple[_Compiled, ...], ...]


class AccessRules:
    """Rules in the order in which they are written."""

    def __init__(self, rules: Iterable[AccessRule], mount: Mount = NOT_MOUNTED) -> None:
        self._table: ResourceTable[_Compiled] = ResourceTable(mount)
        for position, rule in enumerate(rules):
            methods = None if rule.is_for_any_method else with_head(rule.methods)
            roles = None if rule.is_for_any_role else frozenset(rule.roles)
            compiled = _Compiled(position, methods, roles, rule.all_roles, rule.exact)
            self._table.add(rule.path, compiled, exact=rule.exact)

    @property
    def is_shaped(self) -> bool:
        """True if paths of one shape meet the same rules."""
        return self._table.is_shaped

    @property
    def tells_tenants(self) -> bool:
        """True if the rules that a path meets depend on the token's tenant, too."""
        return self._table.tells_tenants

    @property
    def collections(self) -> Collection[str]:
        """Collections that rules name and that are none of Nova's own."""
        return self._table.collections

    def for_path(self, path: str, tenant: str = "") -> PathRules:
        """Return the rules that speak of the resource of ``path``, in order, for each way to read it.

        ``/limits.json`` is the resource ``/limits`` in a format. It may also be one of its own, of which
        more rules speak, and exact ones do not: both ways to read it count. ``tenant`` is that of the token.
        """
        resource = resource_path(path)
        matches = self._table.matches(resource, tenant)
        found = [_in_order(matches)]
        if resource != path:
            shared = [match for match in matches if not match.value.exact]
            found.append(_in_order((*shared, *self._table.matches(path, tenant))))
        return tuple(rules for rules in found if rules)


def _in_order(matches: Iterable[Match[_Compiled]]) -> tuple[_Compiled, ...]:
    return tuple(sorted({match.value for match in matches}, key=lambda rule: rule.position))


def allows(path_rules: PathRules, method: str, roles: Sequence[str]) -> bool:
    """Say whether the first rule that speaks of ``method`` lets ``roles`` through, on every resource."""
    for rules in path_rules:
        for rule in rules:
            if rule.speaks_of(method):
                if not rule.lets(roles):
                    return False
                break
    return True
