"""Templates that no path fits, because it would be refused or is compared in another form."""

import re
from collections.abc import Iterator

from metaproxy.cache.settings import Cache
from metaproxy.config.model.identity import NoIdentity, Tokens
from metaproxy.preflight.machine import Machine
from metaproxy.preflight.note import Note, warning
from metaproxy.protocol.access_rules import Authorization
from metaproxy.protocol.limits.settings import Limits
from metaproxy.protocol.routes import parse_template
from metaproxy.settings.section import KeyPath


def odd_paths(
    machine: Machine,
    identity: Tokens | NoIdentity,
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
    identity: Tokens | NoIdentity, authorization: Authorization, limits: Limits, cache: Cache
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
