"""A table of path templates that is asked with a path and answers for the resource that the path names.

A template that matches one name of a resource matches the resource: under every version and none, with the
tenant in the path and without it (``names``). So a rule, a rate or a route is written once. An exact template
matches the path alone. A final slash of a template says nothing, nor does a format behind a resource's name.
"""

from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

from metaproxy.memo import Memo
from metaproxy.protocol.compute_api import is_top_level_resource, resource_path
from metaproxy.protocol.mount import NOT_MOUNTED, Mount
from metaproxy.protocol.names import (
    ANY_TENANT,
    VERSION_FORM,
    VERSIONS,
    Source,
    is_resource_template,
    names,
    of_resource,
    text_of,
)
from metaproxy.protocol.routes import (
    MEMO_ENTRIES,
    MEMO_PATH_LENGTH,
    Found,
    Match,
    RouteTable,
    Segment,
    parse_template,
    segments_of,
    shape,
)

T = TypeVar("T")

TENANT = "tenant_id"


class _Entry(NamedTuple, Generic[T]):
    """The value of a template; ``position`` tells templates apart."""

    position: int
    value: T
    template: str
    rank: tuple[int, ...]
    """Lower for what is more specific, whatever the version that the template names."""


class _Matched(NamedTuple, Generic[T]):
    """A template that matches, and where what it captures comes from."""

    entry: _Entry[T]
    sources: dict[str, Source]

    @property
    def takes_version_for_tenant(self) -> bool:
        """True if the tenant of ``/{tenant_id}/**`` is a version; under another name it is a tenant."""
        return isinstance(self.sources.get(TENANT), str)


class ResourceTable(Generic[T]):
    """Path templates, each standing for a value; finds those that match any name of a resource.

    The most specific comes first, as in ``RouteTable``; version and tenant make a template no more specific.
    A template is found once, however many names it matches. Raises TemplateError from ``add``.

    Args:
        memo_entries: how many shapes of paths are remembered; 0 if whoever asks remembers.
        wide: whether names count that only an origin mounted at a version serves (``names``).
    """

    def __init__(
        self, mount: Mount = NOT_MOUNTED, *, memo_entries: int = MEMO_ENTRIES, wide: bool = True
    ) -> None:
        self._mount = mount
        self._wide = wide
        self._resources: RouteTable[_Entry[T]] = RouteTable(memo_entries=0)
        self._exact: RouteTable[_Entry[T]] = RouteTable(memo_entries=0)
        self.collections: set[str] = set()
        """Collections that templates name and that are none of Nova's own."""
        self._memo: Memo[tuple[str, str], tuple[_Matched[T], ...]] = Memo(memo_entries, MEMO_PATH_LENGTH)
        self._count = 0
        self.tells_tenants = False
        """True if a template names the token's tenant: the answer then depends on the token, too."""

    def __len__(self) -> int:
        return self._count

    @property
    def is_shaped(self) -> bool:
        """True if paths of one shape match alike."""
        return self._resources.is_shaped and self._exact.is_shaped

    def add(self, template: str, value: T, *, exact: bool = False) -> None:
        """Let ``template`` stand for ``value``; an ``exact`` one speaks for no other version or form."""
        entry = _Entry(self._count, value, template, _rank(template))
        self._count += 1
        self._memo.clear()
        for inside in self._mount.templates(template):
            text = inside.rstrip("/") or "/"
            if not text.endswith("}") and is_resource_template(text):
                text = resource_path(text)
            if exact:
                self._exact.add(text, entry)
                continue
            self._resources.add(text, entry)
            self._learn(text, entry)

    def matches(self, path: str, tenant: str = "") -> tuple[Match[T], ...]:
        """Return every template that matches the resource of ``path`` (percent-decoded).

        ``tenant`` is that of the token, "" if nobody knows it.
        """
        found = self._find(path, tenant)
        if not found:
            return ()
        segments = segments_of(path)
        return tuple([_match(matched, segments, tenant) for matched in found])

    def match(self, path: str, tenant: str = "") -> Match[T] | None:
        """Return the first of ``matches``, or None."""
        found = self._find(path, tenant)
        return _match(found[0], segments_of(path), tenant) if found else None

    def has(self, path: str, tenant: str = "") -> bool:
        """Say whether any template matches the resource of ``path``."""
        return bool(self._find(path, tenant))

    def _learn(self, template: str, entry: _Entry[T]) -> None:
        """Note which collections and tenants a template names."""
        segments, _ = parse_template(template)
        if len(segments) > 1 and any(_admits(segments[0], version) for version in VERSIONS):
            self._learn_at(1, segments, template, entry)
        if segments and not _is_version(segments[0]):
            self._learn_at(0, segments, template, entry)

    def _learn_at(self, at: int, segments: Sequence[Segment], template: str, entry: _Entry[T]) -> None:
        """Note what a template names whose tenant, or whose collection, is the segment at ``at``."""
        first = segments[at]
        if first.literal is not None and (not first.literal or is_top_level_resource(first.literal)):
            return
        if first.literal is not None or first.pattern is not None:
            self.tells_tenants = True
        if first.literal is not None:
            self.collections.add(first.literal)
        second = segments[at + 1].literal if len(segments) > at + 1 else None
        if second and second not in VERSIONS and not is_top_level_resource(second):
            self.collections.add(second)
        if first.pattern is not None:
            # A tenant that nobody knows may be one that fits.
            parts = template.split("/")
            parts[at + 1] = ANY_TENANT
            self._resources.add("/".join(parts), entry)

    def _find(self, path: str, tenant: str) -> tuple[_Matched[T], ...]:
        key = shape(path) if self.is_shaped else path, tenant if self.tells_tenants else ""
        found = self._memo.get(key)
        if found is None:
            found = self._memo.keep(key, self._found(segments_of(path), tenant or ANY_TENANT), len(key[0]))
        return found

    def _found(self, segments: Sequence[str], tenant: str) -> tuple[_Matched[T], ...]:
        found: dict[int, _Matched[T]] = {}
        itself: list[Source] = list(range(len(segments)))
        for match in self._exact.find(segments):
            found.setdefault(match[0][0].position, _matched(match, itself))
        resources = self._resources
        for name in names(segments, self.collections, wide=self._wide) if resources.templates else ():
            if name and not resources.may_begin_with(text_of(name[0], segments, tenant)):
                continue
            for match in resources.find([text_of(source, segments, tenant) for source in name]):
                matched = _matched(match, name)
                known = found.setdefault(match[0][0].position, matched)
                if known.takes_version_for_tenant and not matched.takes_version_for_tenant:
                    found[match[0][0].position] = matched
        return tuple(sorted(found.values(), key=_rank_of))


LITERAL, CONSTRAINED, CAPTURED, REST = range(4)


def _rank(template: str) -> tuple[int, ...]:
    ranks = [
        LITERAL if segment.literal is not None else CONSTRAINED if segment.pattern else CAPTURED
        for segment in of_resource(template)
    ]
    return (*ranks, REST) if template.endswith("/**") else tuple(ranks)


def _rank_of(matched: _Matched[T]) -> tuple[int, ...]:
    return matched.entry.rank


def _admits(segment: Segment, text: str) -> bool:
    if segment.literal is not None:
        return segment.literal == text
    return segment.pattern is None or segment.pattern.matches(text)


def _is_version(segment: Segment) -> bool:
    return segment.literal is not None and VERSION_FORM.fullmatch(segment.literal) is not None


def _matched(found: Found[_Entry[T]], name: Sequence[Source]) -> _Matched[T]:
    (entry, _, captured), indexes = found
    sources = {text: name[index] for text, index in zip(captured, indexes, strict=True) if text}
    return _Matched(entry, sources)


def _match(matched: _Matched[T], segments: Sequence[str], tenant: str) -> Match[T]:
    entry, sources = matched
    captures = {name: text_of(source, segments, tenant) for name, source in sources.items()}
    return Match(entry.value, entry.template, captures)
