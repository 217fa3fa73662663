"""``keystone-v2.cfg.xml``: tokens of an Identity API v2.0, such as Rackspace Identity.

Facts this file rests on (keystone-v2.xsd). Roles that ``ignored-roles`` names are never seen, by no filter
and not by the upstream; by default that is identity:tenant-access. A role in the list of pre-authorized ones
exempts from the check of tenant and endpoint.
"""

from pathlib import Path

from metaproxy.config.repose import tokens
from metaproxy.config.repose.documents import Element
from metaproxy.config.repose.draft import Draft

GUARD = "keystone-v2"
PASSWORD = "IDENTITY_PASSWORD"  # noqa: S105 - the name of a variable
IGNORED_ROLES = "identity:tenant-access"


def convert(root: Element, draft: Draft, folder: Path) -> None:
    """Write identity and what it says about tenants."""
    tokens.begin(draft, "keystone-v2", root.place)
    service = root.first("identity-service")
    if service is None:
        draft.to_do(root.place, "has no identity-service: set identity.url and identity.login")
    else:
        _service(service, draft)
    tokens.delegating(root, GUARD, draft)
    tokens.anonymous(root, GUARD, draft)
    tokens.cache(root, GUARD, draft)
    ignored = _ignored_roles(root, draft)
    _tenants(root, draft)
    roles = [role for group in root.one("pre-authorized-roles") for role in group.texts("role")]
    kept = [role for role in roles if role not in ignored]
    tokens.exempt_roles(kept, f"{root.place} / pre-authorized-roles", draft)
    for element in root.one("require-service-endpoint"):
        tokens.endpoint(element, GUARD, draft)
    draft.set("identity.headers", ["openstack", "repose"], f"{root.place}: what the upstream got")


def _service(service: Element, draft: Draft) -> None:
    draft.set("identity.url", service.token("uri"), f"{service.place} @uri")
    if username := service.attribute("username"):
        draft.set("identity.login.username", username, f"{service.place} @username")
        service.attribute("password")
        draft.secret("identity.login.password", PASSWORD, f"{service.place} @password")
    else:
        draft.set("identity.self_validating", value=True, source=f"{service.place}: no username")
    groups = service.flag("set-groups-in-header", default=True)
    draft.set("identity.groups", groups, f"{service.place} @set-groups-in-header")
    draft.groups = "identity" if groups else draft.groups
    catalog = service.flag("set-catalog-in-header")
    draft.set("identity.send_catalog", catalog, f"{service.place} @set-catalog-in-header")
    if not service.flag("set-roles-in-header", default=True):
        draft.not_converted(
            f"{GUARD}/set-roles-in-header",
            f"{service.place} @set-roles-in-header",
            "kept the roles of a token from the filters behind it and from the upstream; here both see them",
        )
    if service.flag("apply-rcn-roles"):
        draft.not_converted(
            f"{GUARD}/apply-rcn-roles",
            f"{service.place} @apply-rcn-roles",
            "asked identity for roles by the rules of customers' accounts; here identity's own answer counts",
        )
    if service.attribute("connection-pool-id"):
        draft.left_out(f"{service.place} @connection-pool-id", "identity has a pool of its own")


def _ignored_roles(root: Element, draft: Draft) -> list[str]:
    """Return the roles that nobody sees."""
    ignored = root.token("ignored-roles", IGNORED_ROLES).split()
    if ignored == [IGNORED_ROLES]:
        draft.differs(root.place, f"the upstream sees the role {IGNORED_ROLES}, where a token has it")
    else:
        draft.not_converted(
            f"{GUARD}/ignored-roles",
            f"{root.place} @ignored-roles",
            "kept these roles from the filters behind it and from the upstream; here every role counts",
        )
    draft.ignored_roles.update(ignored)
    return ignored


def _tenants(root: Element, draft: Draft) -> None:
    validate: Element | None = None
    expressions: list[str] = []
    for handling in root.one("tenant-handling"):
        validate = handling.first("validate-tenant")
        for element in handling.one("send-tenant-id-quality"):
            draft.left_out(
                element.tell(), "X-Tenant-Id is one tenant: the one in the path, without qualities"
            )
        if handling.flag("send-all-tenant-ids"):
            draft.left_out(
                f"{handling.place} @send-all-tenant-ids", "the upstream gets the tenant it acts for"
            )
    if validate is not None:
        expressions = _expressions(validate)
        prefixes = [part for part in validate.attribute("strip-token-tenant-prefixes").split("/") if part]
        if prefixes:
            place = f"{validate.place} @strip-token-tenant-prefixes"
            draft.set("identity.tenant_prefixes", prefixes, place)
    tokens.tenant(validate, expressions, GUARD, root, draft)


def _expressions(validate: Element) -> list[str]:
    """Until Repose 8 the tenant was read from the path, in one of these three ways."""
    named = validate.attribute("url-extraction-regex")
    return [*([named] if named else []), *validate.texts("uri-extraction-regex", "url-extraction-regex")]
