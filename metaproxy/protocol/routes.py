"""Path templates and a table that matches a path against any number of them at once.

A template is a path whose segments are literal, ``{name}`` (one segment, captured), ``{name:regex}``
(one segment that the regular expression matches whole), ``*`` (one segment) or, at the end, ``**``
(any number of segments, none included). The table is a trie over segments: the cost of a match grows
with the length of the path, not with the number of templates.

Paths are matched percent-decoded, segment by segment. That is unambiguous because the guard refuses
paths in which an escaped slash or dot could change the segments.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Generic, NamedTuple, TypeVar

from metaproxy.memo import Memo
from metaproxy.protocol.expressions import Expression, ExpressionError, compiled

T = TypeVar("T")

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
MEMO_ENTRIES = 1024
MEMO_PATH_LENGTH = 512
"""Longer paths are matched anew each time: the memory of matches is bounded in bytes as well."""

_NAME = re.compile(r"/(?!os-)(?:[0-9]+|(?=[^/]*[0-9])[^/]{8,})(?=/|\Z)")
"""A segment that looks like the name of one thing: a number, a UUID, the id of a project.

A segment that starts with ``os-`` is a collection of the compute API, whatever follows."""
_NAME_PLACE = "/\0"
"""Stands in a path's shape for such a segment; no path that is let through has it."""


class TemplateError(ValueError):
    """A path template that cannot be read; the message says why."""


class Match(NamedTuple, Generic[T]):
    """A template that matched: the value it stands for, its text, and what it captured."""

    value: T
    template: str
    captures: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment of a template: a literal, or a capture that ``pattern`` may constrain."""

    literal: str | None
    name: str = ""
    pattern: Expression | None = None


End = tuple[T, str, tuple[str, ...]]
"""The end of a template: its value, its text, the names of its captures."""

Found = tuple[End[T], tuple[int, ...]]
"""Such an end, and which segments were captured on the way."""


@dataclass(slots=True)
class _Node(Generic[T]):
    literals: "dict[str, _Node[T]]" = field(default_factory=dict)
    captures: "list[tuple[Expression | None, _Node[T]]]" = field(default_factory=list)
    """Constrained ones first."""
    ends: "list[End[T]]" = field(default_factory=list)
    rests: "list[End[T]]" = field(default_factory=list)

    def capture(self, pattern: Expression | None) -> "_Node[T]":
        """Return the node behind a captured segment that ``pattern`` constrains, made at the first call."""
        for known, node in self.captures:
            if known == pattern:
                return node
        node = _Node[T]()
        self.captures.append((pattern, node))
        self.captures.sort(key=lambda captured: -len(captured[0].pattern) if captured[0] else 0)
        return node


class RouteTable(Generic[T]):
    """Path templates, each standing for a value; finds all that match a path, most specific first.

    Specific means: a literal segment before a constrained capture, before a capture, before ``**``,
    decided from left to right. Templates of equal rank keep the order in which they were added.
    Raises TemplateError from ``add`` for a template that cannot be read.

    Paths that differ in the names of things alone match alike, so what is remembered is which templates
    match a shape: a busy API has a few hundred shapes and millions of paths. ``memo_entries`` bounds how
    many are remembered.
    """

    def __init__(self, memo_entries: int = MEMO_ENTRIES) -> None:
        self._root: _Node[T] = _Node()
        self._memo: Memo[str, tuple[Found[T], ...]] = Memo(memo_entries, MEMO_PATH_LENGTH)
        self.is_shaped = True
        """True if paths of one shape match alike: no template names a thing."""
        # A path with another number of segments need not be walked.
        self._lengths: set[int] = set()
        self._shortest_rest: float = math.inf
        self.templates: list[str] = []
        """Every template, in the order in which they were added."""

    def __len__(self) -> int:
        return len(self.templates)

    def add(self, template: str, value: T) -> None:
        """Let ``template`` stand for ``value``."""
        segments, has_rest = parse_template(template)
        node = self._root
        names: list[str] = []
        for segment in segments:
            if segment.literal is not None:
                self.is_shaped = self.is_shaped and _NAME.search("/" + segment.literal) is None
                node = node.literals.setdefault(segment.literal, _Node())
                continue
            names.append(segment.name)
            self.is_shaped = self.is_shaped and segment.pattern is None
            node = node.capture(segment.pattern)
        (node.rests if has_rest else node.ends).append((value, template, tuple(names)))
        if has_rest:
            self._shortest_rest = min(self._shortest_rest, len(segments))
        else:
            self._lengths.add(len(segments))
        self._memo.clear()
        self.templates.append(template)

    def matches(self, path: str) -> tuple[Match[T], ...]:
        """Return every match of ``path`` (percent-decoded), most specific first."""
        found = self._find(path)
        if not found:
            return ()
        segments = segments_of(path)
        return tuple([_match(end, indexes, segments) for end, indexes in found])

    def positions(self, path: str, name: str) -> list[int]:
        """Return for each match of ``path``, most specific first, which of its segments ``name`` captures.

        That is -1 for a template without that name.
        """
        return [indexes[end[2].index(name)] if name in end[2] else -1 for end, indexes in self._find(path)]

    def _find(self, path: str) -> "tuple[Found[T], ...]":
        key = shape(path) if self.is_shaped else path
        found = self._memo.get(key)
        if found is None:
            found = self._memo.keep(key, self.find(segments_of(path)), len(key))
        return found

    def find(self, segments: Sequence[str]) -> "tuple[Found[T], ...]":
        """Return where templates that match ``segments`` end, most specific first. Nothing is remembered."""
        ends = list[Found[T]]()
        if len(segments) in self._lengths or len(segments) >= self._shortest_rest:
            _walk(self._root, segments, 0, (), ends)
        return tuple(ends)

    def may_begin_with(self, segment: str) -> bool:
        """Say whether a path whose first segment is ``segment`` may match: a look that saves most walks."""
        root = self._root
        return segment in root.literals or bool(root.captures or root.rests)

    def has(self, path: str) -> bool:
        """Say whether any template matches ``path``."""
        return bool(self._find(path))

    def template(self, path: str) -> str:
        """Return the template of the most specific match of ``path``, or ""."""
        found = self._find(path)
        return found[0][0][1] if found else ""

    def match(self, path: str) -> Match[T] | None:
        """Return the most specific match of ``path``, or None."""
        found = self._find(path)
        if not found:
            return None
        end, indexes = found[0]
        return _match(end, indexes, segments_of(path))


def parse_template(template: str) -> tuple[list[Segment], bool]:
    """Return the segments of ``template`` and whether it ends in ``**``; raises TemplateError."""
    if not template.startswith("/"):
        raise TemplateError(f"a path template starts with '/': {template!r}")
    parts = segments_of(template)
    has_rest = bool(parts) and parts[-1] == "**"
    segments = [_parse_segment(part, template) for part in (parts[:-1] if has_rest else parts)]
    names = [segment.name for segment in segments if segment.name]
    for name in names:
        if names.count(name) > 1:
            raise TemplateError(f"{{{name}}} stands twice in {template!r}")
    return segments, has_rest


def template_names(template: str) -> tuple[str, ...]:
    """Return the names that ``template`` captures, in order; raises TemplateError."""
    return tuple(segment.name for segment in parse_template(template)[0] if segment.name)


def template_shape(template: str) -> tuple[object, ...]:
    """Return what ``template`` matches: two templates with the same shape match the same paths."""
    segments, has_rest = parse_template(template)
    return (*((segment.literal, segment.pattern) for segment in segments), has_rest)


def _parse_segment(part: str, template: str) -> Segment:
    if part == "*":
        return Segment(literal=None)
    if part == "**":
        raise TemplateError(f"'**' may only stand at the end: {template!r}")
    if not part.startswith("{"):
        if "{" in part or "}" in part or "*" in part:
            raise TemplateError(f"a capture is a whole segment: {part!r} in {template!r}")
        return Segment(literal=part)
    if not part.endswith("}"):
        raise TemplateError(f"a brace is not closed: {part!r} in {template!r}")
    name, _, constraint = part[1:-1].partition(":")
    if not NAME.fullmatch(name):
        raise TemplateError(f"{name!r} is no name for a capture in {template!r}")
    try:
        pattern = compiled(constraint) if constraint else None
    except ExpressionError as error:
        raise TemplateError(f"{constraint!r} in {template!r}: {error}") from error
    return Segment(literal=None, name=name, pattern=pattern)


@lru_cache(maxsize=1)
def segments_of(path: str) -> Sequence[str]:
    """Return the segments of ``path``."""
    # One path is asked for in several tables: what they remember of it shares its segments.
    return path[1:].split("/") if len(path) > 1 else []


@lru_cache(maxsize=1)
def shape(path: str) -> str:
    """Return ``path`` without the names of things: what templates without constraints look at."""
    return _NAME.sub(_NAME_PLACE, path)


def _walk(
    node: _Node[T],
    segments: Sequence[str],
    index: int,
    captured: tuple[int, ...],
    found: "list[Found[T]]",
) -> None:
    """Add what matches from ``node`` on to ``found``, most specific first."""
    count = len(segments)
    while index < count:
        segment = segments[index]
        index += 1
        child = node.literals.get(segment)
        if child is not None and not node.captures and not node.rests:
            node = child  # the only way on: most steps need no call
            continue
        if child is not None:
            _walk(child, segments, index, captured, found)
        if segment:  # an empty one is never a name: "/images//metadata" matches no template
            for pattern, behind in node.captures:
                if pattern is None or pattern.matches(segment):
                    _walk(behind, segments, index, (*captured, index - 1), found)
        break
    else:
        found.extend([(end, captured) for end in node.ends])
    found.extend([(rest, captured) for rest in node.rests])


def _match(end: End[T], indexes: tuple[int, ...], segments: Sequence[str]) -> Match[T]:
    value, template, names = end
    return Match(
        value,
        template,
        {name: segments[index] for name, index in zip(names, indexes, strict=True) if name},
    )
