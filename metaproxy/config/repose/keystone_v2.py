"""``keystone-v2.cfg.xml``: tokens of an Identity API v2.0, such as Rackspace Identity."""

from metaproxy.config.repose import tokens
from metaproxy.config.repose.documents import Element
from metaproxy.config.repose.draft import Draft

FILE = "keystone-v2.cfg.xml"
PASSWORD = "IDENTITY_PASSWORD"  # noqa: S105 - the name of a variable


def convert(root: Element, draft: Draft) -> None:
    """Write identity and what it says about tenants."""
    tokens.begin(draft, "keystone-v2", root.place)
    service = root.first("identity-service")
    if service is None:
        draft.to_do(root.place, "has no identity-service: set identity.url and identity.login")
    else:
        _service(service, draft)
    tokens.delegating(root, draft)
    tokens.anonymous(root, draft)
    tokens.cache(root, draft)
    _tenants(root, draft)
    for element in root.all("require-service-endpoint"):
        tokens.endpoint(element, draft)
    draft.set("identity.headers", ["openstack", "repose"], f"{root.place}: what the upstream got")


def _service(service: Element, draft: Draft) -> None:
    draft.set("identity.url", service.attribute("uri"), f"{service.place} @uri")
    if username := service.attribute("username"):
        draft.set("identity.login.username", username, f"{service.place} @username")
        service.attribute("password")
        draft.secret("identity.login.password", PASSWORD, f"{service.place} @password")
        if tenant := service.attribute("tenant-id"):
            draft.set("identity.login.tenant_id", tenant, f"{service.place} @tenant-id")
    else:
        draft.set("identity.self_validating", value=True, source=f"{service.place}: no username")
    groups = service.flag("set-groups-in-header", default=True)
    draft.set("identity.groups", groups, f"{service.place} @set-groups-in-header")
    catalog = service.flag("set-catalog-in-header")
    draft.set("identity.send_catalog", catalog, f"{service.place} @set-catalog-in-header")
    if service.attribute("connection-pool-id"):
        draft.left_out(f"{service.place} @connection-pool-id", "identity has a pool of its own")


def _tenants(root: Element, draft: Draft) -> None:
    validate: Element | None = None
    expressions: list[str] = []
    for handling in root.all("tenant-handling"):
        validate = handling.first("validate-tenant") or validate
        for element in handling.all("send-tenant-id-quality"):
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
        if validate.flag("enable-legacy-roles-mode"):
            draft.left_out(f"{validate.place} @enable-legacy-roles-mode", "every role of a token counts")
    tokens.tenant(validate, expressions, root, draft)
    roles = [role for group in root.all("pre-authorized-roles") for role in group.texts("role")]
    tokens.exempt_roles(roles, f"{root.place} / pre-authorized-roles", draft)


def _expressions(validate: Element) -> list[str]:
    named = validate.attribute("url-extraction-regex")
    return [*([named] if named else []), *validate.texts("uri-extraction-regex", "url-extraction-regex")]
