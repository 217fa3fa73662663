"""Filters without a stage of their own here: those that refuse nothing, and advice for all others.

A filter that is in none of these tables is unknown. It counts as a guard, as those in ``ADVICE`` do.
"""

from metaproxy.config.repose.draft import Draft
from metaproxy.config.repose.system_model import FilterUse

HARMLESS = {
    "compression": "bodies pass through as they are: let the load balancer compress",
    "content-normalization": "Accept is passed on as it came",
    "derp": "refuses only what a filter before it delegates; that is reported there",
    "forwarded-proto": "X-Forwarded-Proto is always written",
    "herp": "writes usage events; the access log holds the same",
    "merge-header": "several lines of a field mean the same as one (RFC 9110 §5.3)",
    "response-messaging": "writes texts of refusals; here they have the compute API's own words",
    "slf4j-http-logging": "writes a log; the access log is logging.access",
    "split-header": "one line of a field means the same as several (RFC 9110 §5.3)",
}
"""Filters that pass on every request, or refuse nothing by themselves, and what stands for each."""

ADVICE = {
    "api-validator": "refused what its WADL does not allow: write its roles as authorization.rules",
    "body-extractor-to-header": "wrote fields from bodies, by which others may decide",
    "body-patcher": "changed bodies",
    "client-auth": "checked tokens, and was replaced by keystone-v2 in Repose 7: update first",
    "destination-router": "sent requests to a destination of its choice: run a metaproxy for each",
    "header-translation": "copied fields to other names, by which others may decide",
    "header-user": "named the user by a field of the request; rates count by token, or by address without",
    "header-identity": "named the user by a field of the request; see header-user",
    "iri-validator": "refused URIs that RFC 3987 does not allow",
    "keystone-v2-authorization": "checked the tenant of a token: write tenant_paths and authorization.rules",
    "keystone-v2-basic-auth": "exchanged Basic credentials for tokens, and refused wrong ones",
    "rackspace-identity-basic-auth": "exchanged Basic credentials for tokens, and refused wrong ones",
    "openapi-validator": "refused what its OpenAPI document does not allow: write authorization.rules",
    "rackspace-auth-user": "named the user by the body of a login, for rates",
    "regex-rbac": "refused by role, with regular expressions of paths: write authorization.rules",
    "scripting": "ran a program that may have refused anything",
    "tenant-culling": "took tenants off that the request does not name",
    "translation": "changed requests and answers",
    "uri-normalization": "took query parameters off that it does not name",
    "uri-stripper": "took a segment out of the path; a fixed prefix is upstream.strip_prefix",
    "uri-user": "named the user by a part of the path: rates with path: and per: [the captured name]",
    "uri-identity": "named the user by a part of the path: rates with path: and per: [the captured name]",
    "url-extractor-to-header": "wrote fields from the path, by which others decide (tenants, for example)",
    "valkyrie-authorization": "asked a service of its own for permissions: write authorization.rules",
    "versioning": "chose a destination by version, and refused versions that it does not name",
}
"""Filters that are not converted, and what each did."""

UNKNOWN = "is not known to this conversion, so it may have refused anything"

CHECKS_TOKENS = frozenset({"client-auth", "keystone-v2-basic-auth", "keystone-v2-authorization"})
"""Those of them without which a configuration without identity would let everybody in."""


def convert(use: FilterUse, draft: Draft) -> None:
    """Report the filter ``use``; returns without a trace in the configuration."""
    if why := HARMLESS.get(use.name):
        draft.left_out(use.place, why)
    else:
        draft.not_converted(use.name, use.place, ADVICE.get(use.name, UNKNOWN))
