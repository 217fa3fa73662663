"""The options of the cache: the section ``cache`` of the configuration, and what the stage takes."""

from collections.abc import Iterator
from typing import Annotated, Literal

from metaproxy.protocol.caching.storing import Policy
from metaproxy.protocol.option_values import Template
from metaproxy.protocol.routes import parse_template, template_shape
from metaproxy.settings.section import Finding, Section
from metaproxy.settings.units import Duration, Lifetime, Size, format_size
from metaproxy.settings.values import NumberInText


class CacheRoute(Section):
    """A path whose answers may be stored."""

    path: Template
    """Path template; the most specific counts. Under a prefix of your own, call the image {image_id}."""
    ttl: Lifetime = 60.0
    """Freshness where the origin names none; 0s: none; heuristic: a tenth of its age by Last-Modified."""
    negative_ttl: Duration = 0.0
    """How long a 404 is fresh; 0s stores none."""
    stale_while_revalidate: Duration = 0.0
    """How long past its freshness an answer is given at once while a new one is fetched (RFC 5861)."""
    stale_if_error: Duration = 0.0
    """How long past its freshness an answer is given while the upstream fails (RFC 5861)."""
    from_collection: bool = False
    """For an item's path: a stored collection answers its items, and an item's miss may fetch it."""
    exact: bool = False
    """True if the route is for this version and form of path alone, not for every name of the resource."""

    def policy(self, *, respect_origin: bool, heuristic_ttl: float = 0.0) -> Policy:
        """Return what storing asks of the operator; ``heuristic_ttl`` is a guess by an answer's fields."""
        ttl = heuristic_ttl if self.ttl is None else self.ttl
        return Policy(ttl=ttl, negative_ttl=self.negative_ttl, respect_origin=respect_origin)

    def findings(self) -> Iterator[Finding]:
        """An item's path ends in the item's name."""
        segments, has_rest = parse_template(self.path)
        if self.from_collection and (has_rest or not segments or not segments[-1].name):
            yield (
                ("from_collection",),
                f"needs a path that ends in the item's name, as …/metadata/{{key}} does, not {self.path}",
            )


class Cache(Section):
    """Answers that are given from memory."""

    max_bytes: Size = 64 * 1024**2
    """Memory for stored answers per process; the least recently used go first."""
    max_entry_bytes: Size = 1024**2
    """Largest answer that is stored."""
    scope: Literal["project", "user", "token", "shared"] = "project"
    """Sharers of a stored answer; shared: everybody, and after a token only what the origin calls public."""
    hit_status: Annotated[Literal[200, 203], NumberInText] = 200
    """The status of a cached 200; 203 tells it apart (RFC 9110 §15.3.4)."""
    respect_origin: bool = True
    """True if Cache-Control, Expires, Vary and ETag of the origin go before ttl."""
    client_may_bypass: bool = True
    """True if Cache-Control in a request counts: no-cache, max-age, only-if-cached and others."""
    routes: tuple[CacheRoute, ...] = ()
    """Paths whose answers may be stored; no others are."""

    def findings(self) -> Iterator[Finding]:
        """Every answer that may be stored fits, and no two routes match the same paths."""
        if "max_entry_bytes" in self.model_fields_set and self.max_entry_bytes > self.max_bytes:
            yield (
                ("max_entry_bytes",),
                f"is larger than max_bytes, {format_size(self.max_bytes)}: such an answer never fits",
            )
        first: dict[object, int] = {}
        for index, route in enumerate(self.routes):
            if (earlier := first.setdefault(template_shape(route.path), index)) == index:
                continue
            same = self.routes[earlier].path
            yield (
                ("routes", index, "path"),
                f"{route.path} stands in the list twice"
                if same == route.path
                else f"matches the same paths as routes[{earlier}], {same}: remove one of them",
            )
