"""Filters whose work is done by nothing here, or by all of it, and what to do about each."""

from metaproxy.config.repose.documents import Element
from metaproxy.config.repose.draft import Draft

ADVICE = {
    "header-translation": "headers are not renamed; the section headers sets, adds and removes them",
    "response-messaging": "refusals have the compute API's own words, JSON or XML; other texts cannot be set",
    "destination-router": "requests go to one upstream: run a metaproxy for each, and route in front",
    "uri-stripper": "a path segment is not taken out; a fixed prefix is: upstream.strip_prefix",
    "uri-normalization": "ambiguous paths are refused with 400; others pass as they are",
    "content-normalization": "Accept is passed on as it came",
    "merge-header": "header fields keep their order and their lines",
    "compression": "bodies pass through as they are: let the load balancer compress",
    "api-validator": "only simple-rbac is converted; write its roles as authorization.rules",
    "derp": "refusals are written where they are decided",
    "valkyrie-authorization": "asks a service of its own for permissions: write authorization.rules",
    "keystone-v2-authorization": "write tenant_in_path and rules of authorization",
    "client-auth": "was replaced by keystone-v2 in Repose 7: update first, or write identity by hand",
    "rackspace-auth-user": "the user is known from the token alone",
    "rackspace-identity-basic-auth": "Basic credentials are not exchanged for tokens",
    "herp": "usage events: the access log has what they held",
    "slf4j-http-logging": "the access log is logging.access",
    "tenant-culling": "the upstream gets the tenant that the path names",
    "versioning": "requests go to one upstream, whatever their version",
}
"""By the name in the system model."""

GUARDS = frozenset({"api-validator", "client-auth", "keystone-v2-authorization", "valkyrie-authorization"})
"""Those of them that let some requests through and others not: to leave them out opens something."""

UNKNOWN = "is not known to this conversion: see what of it the upstream or the load balancer can do"


def tell(name: str, place: str, root: Element | None, draft: Draft) -> None:
    """Tell that the filter ``name`` was left out, element by element where it has a file."""
    if name in GUARDS:
        draft.to_do(place, f"it guarded the API and is not converted: {ADVICE[name]}")
    else:
        draft.left_out(place, ADVICE.get(name, UNKNOWN))
    if root is not None:
        root.tell()
