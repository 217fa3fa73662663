"""Oversights, which are valid and hardly meant so: each function yields notes about its sections."""

import posixpath
import re
from collections.abc import Iterator, Sequence
from datetime import UTC
from urllib.parse import urlsplit

from metaproxy.cache.settings import Cache
from metaproxy.config.model.identity import AnyProvider, Keystone, KeystoneV3Settings, NoIdentity, Static
from metaproxy.config.model.operations import Store
from metaproxy.config.model.server import Server
from metaproxy.config.model.upstream import Upstream
from metaproxy.preflight.machine import Machine
from metaproxy.preflight.note import Note, warning
from metaproxy.preflight.unreachable import sample_paths
from metaproxy.protocol.cross_origin import CorsSettings
from metaproxy.protocol.expressions import compiled
from metaproxy.protocol.limits.early import tenant_problem
from metaproxy.protocol.limits.rates import RateRule
from metaproxy.protocol.limits.settings import Limits
from metaproxy.protocol.limits.table import captured_apart
from metaproxy.protocol.mount import Mount
from metaproxy.protocol.open_paths import OpenPaths
from metaproxy.settings.section import KeyPath

PORTS = {"http": 80, "https": 443}
UNLIKE_PATHS = ("/v2.1/p1/servers/s1", "/v2/p2/images", "/-")
"""Paths that have nothing in common but what every path has."""


def early_tenants(upstream: Upstream, limits: Limits) -> Iterator[Note]:
    """Yield every rate before identity that some names of a resource would lead past."""
    mount = Mount(upstream.strip_prefix)
    for index, rule in enumerate(limits.rates):
        if rule.before is None:
            continue
        if problem := tenant_problem(rule, mount):
            yield Note(("limits", "rates", index, "before"), problem)


def identity_urls(identity: AnyProvider) -> Iterator[Note]:
    """Yield every URL at which no Keystone of this version answers, or that stands twice.

    A URL may end with its version or lack it (``KeystoneV3``).
    """
    if not isinstance(identity, Keystone):
        return
    path = ("identity", "url")
    version, other = ("v3", "v2.0") if isinstance(identity, KeystoneV3Settings) else ("v2.0", "v3")
    for index, url in enumerate(identity.url):
        where: KeyPath = (*path, index) if len(identity.url) > 1 else path
        parts = [part for part in urlsplit(url).path.split("/") if part]
        if parts[-1:] == [other] or (version == "v3" and parts[-1:] == ["v2"]):
            spoken = "keystone-v2" if version == "v3" else "keystone-v3"
            yield warning(
                where,
                f"{url} is the API of another version: end it with /{version}, or set provider: {spoken}",
            )
        elif parts[-1:] == ["tokens"]:
            yield warning(where, f"{url} is a resource of identity: end it with the version, /{version}")
    for index, earlier in _twice([_same(url).removesuffix(f"/{version}") for url in identity.url]):
        yield warning(
            (*path, index), f"is the service of url[{earlier}] again: remove it, or name another one"
        )


def tokens_without_store(identity: AnyProvider, store: Store) -> Iterator[Note]:
    """Yield a warning if tokens are to be shared and there is no store to share them in."""
    if isinstance(identity, Keystone) and identity.shared_tokens.keys and store.url is None:
        yield warning(
            ("identity", "shared_tokens", "keys"),
            "shares nothing without store.url: set it, or remove the keys",
        )


def nothing_to_share(identity: AnyProvider, cache: Cache) -> Iterator[Note]:
    """Yield a warning if everybody shares stored answers, and those to requests with a token are not stored.

    RFC 9111 §3.5: only the origin can say that an answer to a request with credentials is for all.
    """
    if cache.scope != "shared" or isinstance(identity, NoIdentity):
        return
    is_open = OpenPaths(identity.anonymous, exact=identity.anonymous_exact)
    guarded = [route.path for route in cache.routes if not all(map(is_open.has, sample_paths(route.path)))]
    if guarded:
        yield warning(
            ("cache", "scope"),
            f"shared: answers for {guarded[0]} are stored only if the origin says public, s-maxage or "
            "must-revalidate in Cache-Control, because requests for it have a token. Nova says none of "
            "these: use project, user or token, unless this origin says one of them",
        )


def targets_twice(upstream: Upstream) -> Iterator[Note]:
    """Yield every target that is another one in another spelling."""
    spelled = [
        f"unix:{posixpath.normpath(target.socket)}" if target.socket else _same(target.url)
        for target in upstream.targets
    ]
    for index, earlier in _twice(spelled):
        yield warning(
            ("upstream", "targets", index),
            f"{upstream.targets[index]} is targets[{earlier}] in another spelling: remove one of them",
        )


def expired_tokens(machine: Machine, identity: AnyProvider) -> Iterator[Note]:
    """Yield every static token that is refused already."""
    for index, token in enumerate(identity.tokens if isinstance(identity, Static) else ()):
        if token.expires is not None and token.expires.timestamp() <= machine.time():
            ended = f"{token.expires.astimezone(UTC):%Y-%m-%d %H:%M UTC}"
            yield warning(
                ("identity", "tokens", index, "expires"),
                f"expired on {ended}: the token is refused; remove it, or set a later date",
            )


def careless_expressions(limits: Limits, cors: CorsSettings) -> Iterator[Note]:
    """Yield every expression that is empty, or that gives every path a counter of its own."""
    for index, rule in enumerate(limits.rates):
        at: KeyPath = ("limits", "rates", index, "regex")
        if rule.regex == "":
            yield warning(
                at, "is empty, so that the rule is for every path: write an expression, or remove the key"
            )
        elif rule.regex is not None and _counts_each_path(rule):
            yield warning(
                at,
                f"{rule.regex} fits every path and counts each one apart, so that a client that makes up "
                "paths is never refused: set capture_groups: false",
            )
    for index, pattern in enumerate(cors.origin_patterns):
        if pattern == "":
            yield warning(("cors", "origin_patterns", index), "is empty and fits no origin: remove it")


def _counts_each_path(rule: RateRule) -> bool:
    found = [compiled(rule.regex or "").find(path) for path in UNLIKE_PATHS]
    return bool(captured_apart(rule)) and None not in found and len(set(found)) == len(UNLIKE_PATHS)


def unknown_clients(server: Server, limits: Limits, identity: AnyProvider) -> Iterator[Note]:
    """Yield every limit by address that takes all clients of a load balancer for one.

    Only what is written counts, on a listener that other machines reach without TLS, and only if
    ``trusted_proxies`` is left out: ``trusted_proxies: []`` says that clients connect directly.
    """
    is_remote = any(not address.is_local for address in server.listen)
    if server.tls is not None or not is_remote or "trusted_proxies" in server.model_fields_set:
        return
    counted = list(by_address(limits))
    if isinstance(identity, Keystone) and identity.guesses.rate and "guesses" in identity.model_fields_set:
        counted.append(("identity", "guesses"))
    for path in counted:
        yield warning(
            path,
            "counts by address, and all clients of a load balancer have one: name it in "
            "server.trusted_proxies, or set trusted_proxies: [] if clients connect directly",
        )


def by_address(limits: Limits) -> Iterator[KeyPath]:
    """Yield every key of ``limits`` that counts by address."""
    for index, rate in enumerate(limits.rates):
        if "address" in rate.per:
            yield "limits", "rates", index, "per"
    if limits.absolute.concurrent is not None and limits.absolute.concurrent.per == "address":
        yield "limits", "absolute", "concurrent", "per"


def _same(url: str) -> str:
    """Return ``url`` as all its spellings are: host in small letters, no port that the scheme has anyway."""
    parts = urlsplit(url)
    port = parts.port or PORTS[parts.scheme]
    return f"{parts.scheme}://{parts.hostname}:{port}{re.sub('/+', '/', parts.path).rstrip('/')}"


def _twice(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield the position of every text that stands before, with the first position of it."""
    for index, text in enumerate(texts):
        if (earlier := texts.index(text)) != index:
            yield index, earlier
