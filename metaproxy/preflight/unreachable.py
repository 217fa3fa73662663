"""Templates that no path fits, and rules and routes that no request ever meets.

No path fits a template if it would be refused, or is compared in another form. Of rules and routes, the
tables that serve requests are asked with a path made from each template. A text that no literal equals stands
for a segment without a constraint, and the first usual name that fits for one with a constraint. If none
fits, nothing is reported.
"""

import re
from collections.abc import Iterator, Sequence
from urllib.parse import urlencode

from metaproxy.cache.routes import CacheRoutes
from metaproxy.cache.settings import Cache
from metaproxy.config.model.identity import AnyProvider, Tokens
from metaproxy.preflight.note import Note, warning
from metaproxy.protocol.access_rules import AccessRules, Authorization
from metaproxy.protocol.limits.rates import RateRule
from metaproxy.protocol.limits.settings import Limits
from metaproxy.protocol.limits.table import RateTable
from metaproxy.protocol.names import of_resource
from metaproxy.protocol.resource_table import ResourceTable
from metaproxy.protocol.routes import parse_template
from metaproxy.settings.section import KeyPath

ANY_NAME = "any-name-\N{BLACK SQUARE}"
USUAL_NAMES = (
    "0b0b0b0b-1c1c-4d4d-8e8e-2f2f2f2f2f2f",
    "0b0b0b0b1c1c4d4d8e8e2f2f2f2f2f2f",
    "0b0b0b0b1c1c4d4d8e8e2f2f2f2f2f2f0b0b0b0b1c1c4d4d8e8e2f2f2f2f2f2f",
    "1234",
    "12345678",
    "1",
    "name",
    "Name",
    "a",
    "servers",
    "images",
    "v2.1",
    "v2",
)
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")
DEEP = ("", f"/{ANY_NAME}", f"/{ANY_NAME}/{ANY_NAME}")
"""The samples below a template that ends in ``**``."""


def odd_paths(
    identity: AnyProvider,
    authorization: Authorization,
    limits: Limits,
    cache: Cache,
) -> Iterator[Note]:
    """Yield every template that no request matches, whatever else is configured."""
    for key, template in _templates(identity, authorization, limits, cache):
        if reason := oddity(template):
            yield warning(key, f"{template} can never match: {reason}")


def oddity(template: str) -> str:
    """Return why no path fits ``template``; "" if one may."""
    segments, _ = parse_template(template)
    literals = [segment.literal for segment in segments if segment.literal is not None]
    if any(re.search(r"[?#]", literal) for literal in literals):
        return "a path has no query; name its parameters in query"
    if any(re.search(r"%[0-9A-Fa-f]{2}", literal) for literal in literals):
        return "paths are compared after decoding: write the character in place of its %XX"
    if "" in [segment.literal for segment in segments[:-1]]:
        return "a path with an empty segment is refused"
    if not {".", ".."}.isdisjoint(literals):
        return "a path with a dot segment is refused"
    if any(";" in literal for literal in literals):
        return "a path with parameters is refused"
    return ""


def _templates(
    identity: AnyProvider, authorization: Authorization, limits: Limits, cache: Cache
) -> Iterator[tuple[KeyPath, str]]:
    if isinstance(identity, Tokens):
        for index, template in enumerate(identity.anonymous):
            yield ("identity", "anonymous", index), template
    for index, template in enumerate(authorization.tenant_paths):
        yield ("authorization", "tenant_paths", index), template
    for index, rule in enumerate(authorization.rules):
        yield ("authorization", "rules", index, "path"), rule.path
    for index, rate in enumerate(limits.rates):
        if rate.path is not None:
            yield ("limits", "rates", index, "path"), rate.path
    if limits.endpoint is not None:
        yield ("limits", "endpoint"), limits.endpoint
    for index, route in enumerate(cache.routes):
        yield ("cache", "routes", index, "path"), route.path


def unreachable(authorization: Authorization, limits: Limits, cache: Cache) -> Iterator[Note]:
    """Yield every rule and route that no request ever meets."""
    yield from _shadowed_rules(authorization)
    yield from _idle_rates(limits)
    yield from _idle_routes(cache, limits)


def _shadowed_rules(section: Authorization) -> Iterator[Note]:
    table = AccessRules(section.rules)
    for index, rule in enumerate(section.rules):
        paths = sample_paths(rule.path)
        if not paths or oddity(rule.path):
            continue
        methods = METHODS if "ALL" in rule.methods else rule.methods
        deciding: set[int] = set()
        for path in paths:
            first_of_path = table.for_path(path)[:1]
            for method in methods:
                speaking = [found for rules in first_of_path for found in rules if found.speaks_of(method)]
                deciding.add(speaking[0].position if speaking else index)
        if not deciding or index in deciding:
            continue
        earlier = sorted(deciding)
        if not all(_covers(section.rules[position].path, rule.path) for position in earlier):
            continue
        if "ALL" in rule.methods and not any(
            "ALL" in section.rules[position].methods for position in earlier
        ):
            continue
        names = " and ".join(f"rules[{position}] ({section.rules[position].path})" for position in earlier)
        yield warning(
            ("authorization", "rules", index, "path"),
            f"{rule.path} is never asked: {names} matches first and decides; move this rule before it"
            + _other_name([section.rules[position].path for position in earlier], rule.path),
        )


def _idle_rates(section: Limits) -> Iterator[Note]:
    exempt = (section.endpoint,) if section.endpoint else ()
    table = RateTable(section.rates, algorithm=section.algorithm, exempt=exempt)
    for index, rule in enumerate(section.rates):
        at = ("limits", "rates", index)
        if rule.regex is not None:
            if re.match(r"\^?(?:[A-Za-z0-9_-]|\\\.)", rule.regex) and "|" not in rule.regex:
                yield warning(
                    (*at, "regex"), "can never match: it is compared with the whole path, which starts with /"
                )
        elif rule.path is not None and not oddity(rule.path) and (paths := sample_paths(rule.path)):
            methods = METHODS if "ALL" in rule.methods else rule.methods
            if not any(_meets(table, rule, method, path) for method in methods for path in paths):
                yield warning(
                    (*at, "path"),
                    f"{rule.path} can never match: it is limits.endpoint, which is never counted",
                )


def _meets(table: RateTable, rule: RateRule, method: str, path: str) -> bool:
    query = urlencode([(name, "1") for name in rule.query]).encode()
    found = table.targets(method, path, query, rule.groups[0] if rule.groups else "")
    return any(target.rule.rule.name == rule.name for target in found)


def _idle_routes(cache: Cache, limits: Limits) -> Iterator[Note]:
    table = CacheRoutes(cache.routes)
    endpoint: ResourceTable[None] = ResourceTable()
    if limits.endpoint:
        endpoint.add(limits.endpoint, None)
    for index, route in enumerate(cache.routes):
        at = ("cache", "routes", index)
        paths = [] if oddity(route.path) else sample_paths(route.path)
        found = [match.value.path for path in paths if (match := table.match(path))]
        if paths and all(endpoint.has(path) for path in paths):
            yield warning(
                (*at, "path"), f"{route.path} is limits.endpoint: metaproxy answers it before the cache"
            )
        elif found and route.path not in found:
            yield warning(
                (*at, "path"),
                f"{route.path} is never used: {found[0]} is for the same resource"
                + _other_name(found, route.path),
            )
        elif not cache.respect_origin and route.ttl == 0 and not route.negative_ttl:
            yield warning((*at, "ttl"), "nothing is ever stored: ttl is 0s and cache.respect_origin is false")


def _other_name(others: Sequence[str], template: str) -> str:
    """Return what to do if ``others`` are for the resource of ``template`` under another name."""
    version = parse_template(template)[0][:1]
    if all(parse_template(other)[0][:1] == version for other in others):
        return ""
    return ", or write exact: true beside a path that is for its own version and form alone"


def sample_paths(template: str) -> Sequence[str]:
    """Return paths that ``template`` is meant for; none if no name is known that fits it."""
    segments, has_rest = parse_template(template)
    parts = []
    for segment in segments:
        if segment.literal is not None:
            parts.append(segment.literal)
        elif segment.pattern is None:
            parts.append(ANY_NAME)
        elif (name := next(filter(segment.pattern.matches, USUAL_NAMES), None)) is not None:
            parts.append(name)
        else:
            return ()
    path = "/" + "/".join(parts)
    return [path + below if parts or not below else below for below in DEEP] if has_rest else [path]


def _covers(earlier: str, later: str) -> bool:
    """True if no constraint of ``earlier`` could leave out a path of ``later`` that no sample shows."""
    for mine, other in zip(of_resource(earlier), of_resource(later), strict=False):
        if other.pattern is not None and mine.pattern is not None and mine.pattern != other.pattern:
            return False
        if other.pattern is not None and mine.literal is not None:
            return False
    return True
