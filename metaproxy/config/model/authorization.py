"""The section about who may do what."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from metaproxy.protocol.access_rules import TENANT_EXEMPT_ROLES
from metaproxy.protocol.option_values import Template
from metaproxy.protocol.routes import template_names
from metaproxy.settings.section import Finding, Section, alone
from metaproxy.settings.values import Method, Text


class RoleRule(Section):
    """One path, the methods concerned, and the roles that may use them."""

    path: Template
    """Path template that the rule is for, under every version, with a tenant in the path and without."""
    methods: Annotated[tuple[Method, ...], Field(min_length=1)] = ("ALL",)
    """Methods that the rule is for; ALL is every one, GET includes HEAD."""
    roles: tuple[Text, ...]
    """Roles of which the caller needs one; [ANY] lets everybody through, [] nobody."""
    all_roles: bool = False
    """Whether the caller needs every one of roles, not just one."""
    exact: bool = False
    """Whether the rule is for paths as written alone: no other version or form, format or final slash."""

    @property
    def is_for_any_role(self) -> bool:
        """Whether the rule lets callers through whatever their roles."""
        return "ANY" in self.roles

    def findings(self) -> Iterator[Finding]:
        """ALL and ANY leave nothing to add."""
        yield from alone("methods", self.methods, "ALL")
        yield from alone("roles", self.roles, "ANY")


class Authorization(Section):
    """Who may do what."""

    tenant_in_path: bool = True
    """Whether the tenant that a path names must be the token's project."""
    tenant_paths: tuple[Template, ...] = ("/v2/{tenant_id}/**", "/v2.1/{tenant_id}/**")
    """Where a path names its tenant, as {tenant_id}; deployments mount the API under other prefixes."""
    tenant_exempt_roles: tuple[Text, ...] = TENANT_EXEMPT_ROLES
    """Roles whose owners may name any tenant; not with a domain's, unscoped, or non-admin-project token."""
    methods: bool = True
    """Whether known operations refuse methods that they do not have, with 405 and Allow."""
    rules: tuple[RoleRule, ...] = ()
    """Roles needed by path and method; the first rule that matches decides, no match allows."""
    mask_as_not_found: bool = False
    """Whether a refusal is told as 404 in place of 403."""

    def findings(self) -> Iterator[Finding]:
        """A path that is to name a tenant does."""
        for index, template in enumerate(self.tenant_paths):
            if "tenant_id" not in template_names(template):
                yield ("tenant_paths", index), f"{template} does not capture {{tenant_id}}"
