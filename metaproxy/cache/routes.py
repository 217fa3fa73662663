"""Which paths are cached, and which stored answers a path concerns.

An answer is tagged with what can change it: its image where the path names one, else its resource. A
write anywhere under an image's path concerns everything stored of that image, whatever the form of
the path: with a tenant or without, in any version of the API, in JSON or XML. It also concerns the lists
of images, which tell of every one. The image of a path is read from the path, for reads and writes alike:
how an operator has called the parts of it in a template must not decide whether a write is seen.
Paths here are percent-decoded: two spellings of one path name one resource (RFC 3986 §6.2.2.2).
"""

from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import unquote

from metaproxy.cache.settings import CacheRoute
from metaproxy.protocol.compute_api import BARE_TENANT, ENDINGS, PREFIXES, resource_path
from metaproxy.protocol.mount import NOT_MOUNTED, Mount
from metaproxy.protocol.names import common_names
from metaproxy.protocol.resource_table import ResourceTable
from metaproxy.protocol.routes import Match, RouteTable, segments_of

IMAGE = "{image_id"
IMAGES = "/images/{image_id}"
LISTS = ("/images", "/images/detail")

LISTS_TAG = "images"
"""The tag of every list of images."""

REPRESENTATION_SUFFIXES = (".json", ".xml")


class CacheRoutes:
    """The routes of a cache, and the paths whose writes concern them.

    A route is for every name of its resource. An answer stored under one name is not found under another: the
    key has the path as it came. A write through one name concerns the answers of all of them.
    """

    def __init__(self, routes: Iterable[CacheRoute], mount: Mount = NOT_MOUNTED) -> None:
        self._mount = mount
        self._read: ResourceTable[CacheRoute] = ResourceTable(mount, wide=False)
        self._written: ResourceTable[None] = ResourceTable(mount)
        # One request's path is asked for several times.
        self._match = lru_cache(maxsize=1)(self._find)
        self._images: RouteTable[None] = RouteTable()
        self._lists: RouteTable[None] = RouteTable()
        prefixes = {prefix + IMAGES for prefix in (*PREFIXES, BARE_TENANT)}
        for route in routes:
            self._read.add(route.path, route, exact=route.exact)
            self._written.add(route.path, None)
            for template in mount.templates(route.path):
                if IMAGE in template:
                    prefixes.add(image_prefix(template))
        for prefix in sorted(prefixes):
            self._images.add(f"{prefix}/**", None)
        for prefix in (*PREFIXES, BARE_TENANT):
            for template in LISTS:
                self._lists.add(prefix + template, None)

    @property
    def are_shaped(self) -> bool:
        """True if answers for all paths of one shape may be stored, or none."""
        return self._read.is_shaped

    def has(self, path: str) -> bool:
        """Say whether answers for ``path`` (percent-decoded) may be stored."""
        return self._read.has(path) or (path.endswith(ENDINGS) and self._read.has(resource_path(path)))

    def match(self, path: str) -> Match[CacheRoute] | None:
        """Return the route that caches answers for ``path`` (percent-decoded), or None."""
        return self._match(path)

    def normalised_query(self, path: str, query: bytes) -> bytes:
        """Return the query as the key has it: of an image's path sorted by name, else as it is.

        The compute API reads parameters by name, so their order says nothing; elsewhere it may.
        Parameters of one name keep their order.
        """
        match = self.match(path)
        if match is None or "image_id" not in match.captures:
            return query
        pairs = sorted(filter(None, query.split(b"&")), key=_parameter_name)
        return b"&".join(pairs)

    def read_tags(self, path: str, project_id: str | None) -> tuple[str, ...]:
        """Return the tags of what is stored for a path; ``project_id`` is None without tenants."""
        tags = self._tags(path)
        return tags if project_id is None else (*tags, tenant_tag(project_id))

    def written_tags(self, path: str) -> tuple[str, ...]:
        """Return the tags of what a write on ``path`` concerns."""
        tags = self._tags(path)
        if self._images.has(path):
            return tuple(sorted({*tags, LISTS_TAG}))
        return tags if self._written.has(path) or self._written.has(resource_path(path)) else ()

    def also_written_tags(self, targets: Iterable[bytes]) -> tuple[str, ...]:
        """Return the tags of further targets (path and query) that a write's answer names."""
        paths = [unquote(target.partition(b"?")[0].decode("latin-1")) for target in targets]
        tags = {tag for path in paths for tag in self.written_tags(self._mount.inside(path))}
        return tuple(sorted(tags))

    def concerned_by(self, path: str) -> tuple[str, ...]:
        """Return the tags of what a write on ``path``, as clients write it, concerns."""
        return self.written_tags(self._mount.inside(path))

    def _find(self, path: str) -> Match[CacheRoute] | None:
        # The end of an item's name may look like a format.
        match = self._read.match(path)
        if match is None and path.endswith(ENDINGS):
            match = self._read.match(resource_path(path))
        return match

    def _tags(self, path: str) -> tuple[str, ...]:
        """Return the tags of a path: the lists of images, an image, or itself."""
        if not path.isascii():
            # Some servers' paths hold octets that are no text; replicas are told in UTF-8.
            path = path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        if self._lists.has(resource_path(path)):
            return (LISTS_TAG,)
        if places := self._images.positions(path, "image_id"):
            segments = segments_of(path)
            return tuple(sorted({image_tag(segments[at]) for at in places}))
        return tuple(map(path_tag, common_names(path, self._written.collections)))


def image_prefix(template: str) -> str:
    """Return ``template`` up to and with its ``{image_id}`` segment."""
    segments = template.split("/")
    index = next(i for i, segment in enumerate(segments) if segment.startswith(IMAGE))
    return "/".join(segments[: index + 1])


def image_tag(image_id: str) -> str:
    """Return the tag of what is stored of an image; a representation's suffix is no part of its id."""
    image_id = image_id.lower().rstrip(" ")  # as MySQL compares ids
    if image_id.endswith(REPRESENTATION_SUFFIXES):
        for suffix in REPRESENTATION_SUFFIXES:
            image_id = image_id.removesuffix(suffix)
    return f"image:{image_id}"


def tenant_tag(project_id: str) -> str:
    """Return the tag of what is stored for a tenant."""
    return f"tenant:{project_id}"


def path_tag(path: str) -> str:
    """Return the tag of what is stored of a resource that is no image, whatever its host and query."""
    return f"path:{path}"


def _parameter_name(pair: bytes) -> bytes:
    return pair.partition(b"=")[0]
