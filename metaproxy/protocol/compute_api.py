"""The compute API's operations that the proxy knows, and the names that its paths begin with.

Facts this file rests on. The image-metadata family and the limits are served under the bare path,
under a version, and under a version and a tenant (compute API v2, "General API information"; Nova
itself drops the tenant from v2.1 paths). GET is answered to HEAD as well (RFC 9110 §9.3.2). An origin
says with Allow which methods a resource has (§10.2.1), which is what a 405 must carry (§15.5.6).
A path that ends in ``.json`` or ``.xml`` names the same resource in that format.
"""

from collections.abc import Iterable
from functools import lru_cache

from metaproxy.protocol.routes import RouteTable, shape

PREFIXES = ("", "/v2", "/v2.1", "/v2/{tenant_id}", "/v2.1/{tenant_id}")

BARE_TENANT = "/{tenant_id}"
"""The version and tenant before a resource, which an origin that is mounted at a version may lack."""

OPERATIONS: tuple[tuple[str, frozenset[str]], ...] = (
    ("/limits", frozenset({"GET"})),
    ("/images", frozenset({"GET"})),
    ("/images/detail", frozenset({"GET"})),
    ("/images/{image_id}", frozenset({"GET", "DELETE"})),
    ("/images/{image_id}/metadata", frozenset({"GET", "PUT", "POST"})),
    ("/images/{image_id}/metadata/{key}", frozenset({"GET", "PUT", "DELETE"})),
)

TENANT_PATHS = ("/v2/{tenant_id}/**", "/v2.1/{tenant_id}/**")
"""The places of a tenant in a path that is no known operation."""

FORMATS = (".json", ".xml")
ENDINGS = ("/", *FORMATS)

# Nova's collections directly under a version. A path such as /v2.1/servers/… carries no tenant.
TOP_LEVEL_RESOURCES = frozenset({"extensions", "flavors", "images", "limits", "servers", "versions"})
EXTENSION_PREFIX = "os-"


def known_operations() -> RouteTable[frozenset[str]]:
    """Return the table of known operations; each template stands for the methods it has."""
    table: RouteTable[frozenset[str]] = RouteTable()
    for prefix in PREFIXES:
        for template, methods in OPERATIONS:
            table.add(prefix + template, with_head(methods))
    return table


def with_head(methods: Iterable[str]) -> frozenset[str]:
    """Return ``methods`` in upper case, with HEAD where GET is among them (RFC 9110 §9.3.2)."""
    upper = frozenset(method.upper() for method in methods)
    return upper | {"HEAD"} if "GET" in upper else upper


def resource_path(path: str) -> str:
    """Return the path of the resource that ``path`` names: without format suffix and final slash."""
    while path.endswith(ENDINGS):
        path = path.rstrip("/")
        for suffix in FORMATS:
            path = path.removesuffix(suffix)
    return path or "/"


@lru_cache(maxsize=1)
def kind_of_path(path: str) -> str:
    """Return what two paths have in common that shaped tables match alike, and so do their resources.

    That is the shape; of a path with a format or a final slash it is the path itself, because the shape does
    not tell what is left of the last segment without them.
    """
    return path if path.endswith(ENDINGS) else shape(path)


def is_top_level_resource(segment: str) -> bool:
    """Say whether ``segment``, directly under a version, is a collection of Nova's and no tenant."""
    if segment in TOP_LEVEL_RESOURCES:  # most are written without a format
        return True
    name = resource_path(segment) if segment.endswith(ENDINGS) else segment
    return name in TOP_LEVEL_RESOURCES or name.startswith(EXTENSION_PREFIX)
