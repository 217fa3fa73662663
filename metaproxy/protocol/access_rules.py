"""Rules that say which roles may use which method on which path.

Facts this file rests on. Rules are read in order and the first that speaks of resource and method decides;
where none does, the request is allowed. A rule speaks of a resource under all its names
(``resource_table``), unless it is exact. A rule without roles lets nobody through, which closes what
rules before it have not opened. GET speaks of HEAD too (RFC 9110 §9.3.2). The lines of Repose's
simple-rbac fit this model: a path template, methods or ALL, roles of which any is enough, or ANY.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from metaproxy.protocol.compute_api import resource_path, with_head
from metaproxy.protocol.mount import NOT_MOUNTED, Mount
from metaproxy.protocol.resource_table import ResourceTable
from metaproxy.protocol.routes import Match

TENANT_EXEMPT_ROLES = ("admin",)
"""Roles that may name any tenant, if nothing else is configured."""


class Everything:
    """The type of ``EVERYTHING``: all methods, or any caller whatever its roles."""

    def __repr__(self) -> str:
        return "EVERYTHING"


EVERYTHING: Final = Everything()


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRule:
    """One rule.

    Args:
        path: a path template.
        methods: the methods that it speaks of.
        roles: the roles that it lets through; () lets nobody through.
        all_roles: whether every one of ``roles`` is needed, not just one.
        exact: whether the rule speaks of the version and form of ``path`` alone.
    """

    path: str
    methods: Iterable[str] | Everything = EVERYTHING
    roles: Iterable[str] | Everything = EVERYTHING
    all_roles: bool = False
    exact: bool = False


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
    """Rules in the order in which they are written.

    Args:
        rules: the rules.
        mount: the prefix that was taken off paths.
    """

    def __init__(self, rules: Iterable[AccessRule], mount: Mount = NOT_MOUNTED) -> None:
        self._table: ResourceTable[_Compiled] = ResourceTable(mount)
        for position, rule in enumerate(rules):
            methods = None if isinstance(rule.methods, Everything) else with_head(rule.methods)
            roles = None if isinstance(rule.roles, Everything) else frozenset(rule.roles)
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
