"""The section ``authorization``: who may do what."""

from starlette.types import ASGIApp

from metaproxy.config.model import Config
from metaproxy.config.model.authorization import RoleRule
from metaproxy.filters.authorize import Authorize
from metaproxy.protocol.access_rules import EVERYTHING, AccessRule
from metaproxy.protocol.mount import Mount


def authorize(app: ASGIApp, config: Config) -> Authorize:
    """Return the stage that ``config`` describes, in front of ``app``."""
    section = config.authorization
    return Authorize(
        app,
        tenant_in_path=section.tenant_in_path,
        tenant_paths=section.tenant_paths,
        tenant_exempt_roles=section.tenant_exempt_roles,
        tenant_prefixes=getattr(config.identity, "tenant_prefixes", ()),
        rules=[access_rule(rule) for rule in section.rules],
        methods=section.methods,
        mask_as_not_found=section.mask_as_not_found,
        mount=Mount(config.upstream.strip_prefix),
    )


def access_rule(rule: RoleRule) -> AccessRule:
    """Return the rule that ``rule`` configures."""
    return AccessRule(
        path=rule.path,
        methods=EVERYTHING if "ALL" in rule.methods else rule.methods,
        roles=EVERYTHING if "ANY" in rule.roles else rule.roles,
        all_roles=rule.all_roles,
        exact=rule.exact,
    )
