"""``openstack-identity-v3.cfg.xml``: tokens of a Keystone, Identity API v3.

Facts this file rests on (openstack-identity-v3.xsd). The token is in X-Subject-Token. Pre-authorized roles
take the place of those that bypass the check of the project; both exempt from the check of the endpoint, too.
"""

from pathlib import Path

from metaproxy.config.repose import tokens
from metaproxy.config.repose.documents import Element
from metaproxy.config.repose.draft import Draft

GUARD = "openstack-identity-v3"
PASSWORD = "KEYSTONE_PASSWORD"  # noqa: S105 - the name of a variable


def convert(root: Element, draft: Draft, folder: Path) -> None:
    """Write identity and what it says about projects."""
    tokens.begin(draft, "keystone-v3", root.place)
    service = root.first("openstack-identity-service")
    if service is None:
        draft.to_do(root.place, "has no openstack-identity-service: set identity.url and identity.login")
    else:
        _service(service, draft)
    tokens.delegating(root, GUARD, draft)
    tokens.anonymous(root, GUARD, draft)
    tokens.cache(root, GUARD, draft)
    _projects(root, draft)
    for element in root.one("service-endpoint"):
        tokens.endpoint(element, GUARD, draft)
    _headers(root, draft)
    draft.differs(root.place, "the token is read from X-Auth-Token; Repose read it from X-Subject-Token")


def _service(service: Element, draft: Draft) -> None:
    draft.set("identity.url", service.token("uri"), f"{service.place} @uri")
    draft.set("identity.login.username", service.attribute("username"), f"{service.place} @username")
    service.attribute("password")
    draft.secret("identity.login.password", PASSWORD, f"{service.place} @password")
    domain = service.attribute("domain-id", "default")
    draft.set("identity.login.user_domain_id", domain, f"{service.place} @domain-id")
    if project := service.attribute("project-id"):
        draft.set("identity.login.project_id", project, f"{service.place} @project-id")


def _projects(root: Element, draft: Draft) -> None:
    validate = root.first("validate-project-id-in-uri")
    expressions = [] if validate is None else [validate.attribute("regex")]
    tokens.tenant(validate, expressions, GUARD, root, draft)
    groups = [root.first("roles-which-bypass-project-id-check"), root.first("pre-authorized-roles")]
    named = [group for group in groups if group is not None]
    roles = [group.texts("role") for group in named]
    source = named[-1].place if named else f"{root.place}: no roles bypass the check"
    tokens.exempt_roles(roles[-1] if roles else [], source, draft)


def _headers(root: Element, draft: Draft) -> None:
    catalog = root.flag("forward-catalog")
    draft.set("identity.send_catalog", catalog, f"{root.place} @forward-catalog")
    draft.set("identity.headers", ["openstack", "repose"], f"{root.place}: what the upstream got")
    if root.flag("forward-groups", default=True):
        draft.groups = "federated"
        draft.left_out(
            f"{root.place} @forward-groups",
            "the upstream sees the groups of federated users; others are in no token. Roles are told of all",
        )
    if root.flag("send-all-project-ids"):
        draft.left_out(f"{root.place} @send-all-project-ids", "the upstream gets the project it acts for")
    for element in root.one("send-project-id-quality"):
        draft.left_out(element.tell(), "X-Project-Id carries no quality")
    if root.attribute("connection-pool-id"):
        draft.left_out(f"{root.place} @connection-pool-id", "identity has a pool of its own")
