"""All names of a resource of the compute API: the one place that knows them.

Facts this file rests on. Nova serves every resource under /v2 and under /v2.1, with the project in the path
and without it (api-paste.ini; "the project is no part of v2.1 paths"). Compute API v2 writes some of them
without a version. A request without a project in its path is one for the project of its token. ``/v2`` and
``/v2.1`` themselves are documents about a version, each a resource of its own. A format suffix and a final
slash are no part of a resource's name (``compute_api.resource_path``).

An origin may have collections that are not listed here. They are known by the templates that name them.

Nova serves nothing else outside its versions. An origin that is mounted at a version, or a server in front of
it that writes paths anew, serves all of it there: with the project as first segment, too. So *wide* readings
take every path outside a version for one of the resource that it would be behind a version. They are for
what guards. Narrow readings are for what opens or stores: they take what is certain.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Final, NamedTuple, TypeAlias

from metaproxy.protocol.compute_api import is_top_level_resource, resource_path
from metaproxy.protocol.routes import Segment, parse_template, segments_of

VERSIONS: Final = ("v2.1", "v2")

VERSION_FORM: Final = re.compile(r"v[0-9]{1,2}(\.[0-9]{1,3})?")
"""The version of some API, ours or another. It is shorter than the name of a thing (``routes.shape``)."""

HEALTHCHECK: Final = "healthcheck"
"""The one path beside the versions that Nova serves."""

ANY_TENANT: Final = "\1"
"""Stands for a tenant that nobody knows. No path that is let through has it."""

TENANTS_TRIED: Final = (
    ANY_TENANT,
    "0b0b0b0b1c1c4d4d8e8e2f2f2f2f2f2f",
    "0b0b0b0b-1c1c-4d4d-8e8e-2f2f2f2f2f2f",
    "12345678",
    "tenant",
)
"""Stand, one after the other, for a tenant that nobody knows where an expression insists on its form."""

OF_TOKEN: Final = -1
"""The source of a segment that the token tells: the tenant, if the path has none."""

Source: TypeAlias = int | str
"""The origin of a segment: a position in the path, ``OF_TOKEN``, or the segment itself."""


class Reading(NamedTuple):
    """One way to read a path: the position of its tenant, None for none, and where the resource begins."""

    tenant: int | None
    start: int


def readings(
    segments: Sequence[str], collections: Collection[str] = (), *, wide: bool = True
) -> Iterator[Reading]:
    """Yield every way to read a path of the compute API; nothing for any other path.

    ``collections`` are those that are known beside Nova's own.
    """
    if not segments:
        return
    if segments[0] not in VERSIONS:
        is_bare = wide and has_bare_tenant(segments, collections)
        is_known = is_top_level_resource(segments[0]) or segments[0] in collections
        if is_known or (wide and not is_bare and is_outside_versions(segments[0])):
            yield Reading(None, 0)
        if is_bare:
            yield Reading(0, 1)
        return
    if len(segments) < 2 or not segments[1]:
        return
    if is_top_level_resource(segments[1]):
        yield Reading(None, 1)
        return
    if segments[1] in collections:
        yield Reading(None, 1)
    yield Reading(1, 2)


def is_outside_versions(segment: str) -> bool:
    """Say whether ``segment``, the first of a path, is neither a version of an API nor Nova's health."""
    return segment not in ("", HEALTHCHECK) and VERSION_FORM.fullmatch(segment) is None


def has_bare_tenant(segments: Sequence[str], collections: Collection[str] = ()) -> bool:
    """Say whether a path is one of a tenant without a version: ``/{tenant}/servers/…``."""
    if len(segments) < 2 or is_top_level_resource(segments[0]) or not is_outside_versions(segments[0]):
        return False
    return is_top_level_resource(segments[1]) or segments[1] in collections


def names(
    segments: Sequence[str], collections: Collection[str] = (), *, wide: bool = True
) -> Iterator[list[Source]]:
    """Yield every name of the resource that a path names, always in the same order for the same resource.

    A path that names no resource of the compute API has one name: itself.
    """
    is_known = False
    for tenant, start in readings(segments, collections, wide=wide):
        is_known = True
        rest: list[Source] = list(range(start, len(segments)))
        owner = OF_TOKEN if tenant is None else tenant
        for version in VERSIONS:
            yield [version, owner, *rest]
        first = segments[start] if start < len(segments) else ""
        if wide and first:
            yield [owner, *rest]
        if tenant is None or is_top_level_resource(first) or first in collections:
            for version in VERSIONS:
                yield [version, *rest]
            yield rest
    if not is_known:
        yield list(range(len(segments)))


def names_of(path: str, tenant: str, collections: Collection[str] = ()) -> Iterator[str]:
    """Yield every name of the resource that ``path`` names; ``tenant`` is that of the token."""
    segments = segments_of(path)
    for name in names(segments, collections):
        yield "/" + "/".join([text_of(source, segments, tenant) for source in name])


def common_names(path: str, collections: Collection[str] = ()) -> tuple[str, ...]:
    """Return what all names of the resource of ``path`` have in common: no version, no tenant, no format.

    Resources of different tenants have it in common, too. There is more than one if the path can be read in
    more than one way.
    """
    resource = resource_path(path)
    segments = segments_of(resource)
    found = ["/" + "/".join(segments[start:]) for _, start in readings(segments, collections)]
    return tuple(found) or (resource,)


def text_of(source: Source, segments: Sequence[str], tenant: str) -> str:
    """Return the segment of a name that comes from ``source``, in the path that has ``segments``."""
    if isinstance(source, str):
        return source
    return tenant if source == OF_TOKEN else segments[source]


def is_of_compute_api(path: str) -> bool:
    """Say whether ``path`` names a resource of the compute API, which may have other names."""
    return next(readings(segments_of(path), wide=False), None) is not None


def of_resource(template: str) -> list[Segment]:
    """Return the segments of ``template`` without the version and a tenant that may be any."""
    segments, _ = parse_template(template)
    if segments and segments[0].literal in VERSIONS:
        segments = segments[1:]
        if segments and segments[0].literal is None and segments[0].pattern is None:
            segments = segments[1:]
    return segments


def is_resource_template(template: str) -> bool:
    """Say whether ``template`` says which resource of the compute API it is for, whatever the version."""
    segments, _ = parse_template(template)
    has_version = bool(segments) and segments[0].literal in VERSIONS
    rest = segments[has_version:]
    if has_version and len(rest) > 1 and rest[0].literal is None and rest[0].pattern is None:
        return bool(rest[1].literal)
    return bool(rest) and rest[0].literal is not None and is_top_level_resource(rest[0].literal)
