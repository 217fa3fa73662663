"""``openstack-identity-v3.cfg.xml``: tokens of a Keystone, Identity API v3."""

from metaproxy.config.repose import tokens
from metaproxy.config.repose.documents import Element
from metaproxy.config.repose.draft import Draft

FILE = "openstack-identity-v3.cfg.xml"
PASSWORD = "KEYSTONE_PASSWORD"  # noqa: S105 - the name of a variable

FLAGS = {
    "forward-groups": "the groups of federated users are told, others are in no token; roles are told of all",
    "send-all-project-ids": "the upstream gets the project it acts for",
    "send-project-id-quality": "X-Project-Id carries no quality",
}


def convert(root: Element, draft: Draft) -> None:
    """Write identity and what it says about projects."""
    tokens.begin(draft, "keystone-v3", root.place)
    service = root.first("keystone-service")
    if service is None:
        draft.to_do(root.place, "has no keystone-service: set identity.url and identity.login")
    else:
        _service(service, draft)
    tokens.delegating(root, draft)
    tokens.anonymous(root, draft)
    tokens.cache(root, draft)
    _projects(root, draft)
    for element in root.all("service-endpoint"):
        tokens.endpoint(element, draft)
    _flags(root, draft)
    draft.set("identity.headers", ["openstack", "repose"], f"{root.place}: what the upstream got")


def _service(service: Element, draft: Draft) -> None:
    draft.set("identity.url", service.attribute("uri"), f"{service.place} @uri")
    draft.set("identity.login.username", service.attribute("username"), f"{service.place} @username")
    service.attribute("password")
    draft.secret("identity.login.password", PASSWORD, f"{service.place} @password")
    domain = service.attribute("domain-id", "default")
    draft.set("identity.login.user_domain_id", domain, f"{service.place} @domain-id")
    if project := service.attribute("project-id"):
        draft.set("identity.login.project_id", project, f"{service.place} @project-id")
    if service.attribute("connection-pool-id"):
        draft.left_out(f"{service.place} @connection-pool-id", "identity has a pool of its own")


def _projects(root: Element, draft: Draft) -> None:
    validate = root.first("validate-project-id-in-uri")
    expressions: list[str] = []
    if validate is not None:
        expressions = [validate.attribute("regex")]
        if validate.attribute("strip-token-project-prefixes"):
            draft.left_out(
                f"{validate.place} @strip-token-project-prefixes",
                "only tokens of API v2.0 have such prefixes here",
            )
    tokens.tenant(validate, expressions, root, draft)
    groups = root.all("roles-which-bypass-project-id-check", "pre-authorized-roles")
    roles = [role for group in groups for role in group.texts("role")]
    tokens.exempt_roles(roles, f"{root.place} / roles-which-bypass-project-id-check", draft)


def _flags(root: Element, draft: Draft) -> None:
    for element in root.all("forward-catalog"):
        draft.set("identity.send_catalog", element.text == "true", element.place)
    for name, why in FLAGS.items():
        for element in root.all(name):
            if element.text != "false":
                draft.left_out(element.tell(), why)
