"""Dangers of a valid configuration: each function yields warnings about the sections that it takes."""

import ipaddress
import re
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

from metaproxy.cache.settings import Cache
from metaproxy.config.model.identity import AnyProvider, Keystone, NoIdentity
from metaproxy.config.model.operations import Store
from metaproxy.config.model.server import Admin, Server
from metaproxy.config.model.upstream import Upstream
from metaproxy.config.problems import dotted
from metaproxy.preflight.machine import Machine
from metaproxy.preflight.note import Note, warning
from metaproxy.preflight.oversights import by_address
from metaproxy.protocol import cross_origin
from metaproxy.protocol.cross_origin import CorsSettings
from metaproxy.protocol.forwarded import UNIX
from metaproxy.protocol.header_edits import HeaderSettings
from metaproxy.protocol.limits.settings import Limits
from metaproxy.protocol.open_paths import OpenPaths
from metaproxy.settings.section import KeyPath
from metaproxy.settings.units import format_duration
from metaproxy.store.sentinel_url import is_sentinel_url, parse_sentinel_url

A_SERVER = "/v2.1/p1/servers/s1"
"""A path of the API that nobody should reach without a token."""
LEAST_TOKEN = 16
LEAST_DIFFERENT = 6
LONG_TRUST_SECONDS = 3600.0
WIDEST_V4, WIDEST_V6 = 8, 16
FEWEST_DESCRIPTORS = 64
"""With fewer, clients can take those that the admin listener and the log need."""
DESCRIPTORS_FOR_THE_REST = 64
"""Files, listeners, the log, the store and what the operator's listener needs."""


def clear_passwords(
    machine: Machine, identity: AnyProvider, store: Store, headers: HeaderSettings, upstream: Upstream
) -> Iterator[Note]:
    """Yield what sends secrets over connections that others can read."""
    for url in identity.url if isinstance(identity, Keystone) else ():
        if _is_clear_and_remote(url):
            yield warning(
                ("identity", "url"),
                f"{url} is not https: the password and every token go to another machine in clear text",
            )
    if store.url is not None:
        yield from _clear_store(store.url.get_secret_value())
    clear = next((str(target) for target in upstream.targets if _is_clear_and_remote(target.url)), "")
    for key in ("set", "add"):
        for index, field in enumerate(getattr(headers.request, key)):
            if clear and re.search(r"secret|token|authorization|key|password", field.name, re.IGNORECASE):
                yield warning(
                    ("headers", "request", key, index, "value"),
                    f"is sent to {clear} in clear text: use https://",
                )


def _clear_store(url: str) -> Iterator[Note]:
    """Yield how the password of the store can be read on the way."""
    urls = [url]
    scheme = url.partition("://")[0]
    if is_sentinel_url(url):
        sentinel_url = parse_sentinel_url(url)
        urls = [sentinel_url.of_server(sentinel.host, sentinel.port) for sentinel in sentinel_url.sentinels]
        urls += [sentinel_url.of_sentinel(sentinel) for sentinel in sentinel_url.sentinels]
    each = [(urlsplit(one), parse_qs(urlsplit(one).query)) for one in urls]
    if any(
        parts.scheme == "redis"
        and (parts.password is not None or "password" in options)
        and not _is_here(parts.hostname or "")
        for parts, options in each
    ):
        yield warning(
            ("store", "url"),
            f"{scheme}:// sends the password to another machine in clear text: "
            f"use {scheme.replace('redis', 'rediss')}://",
        )
    if any(
        parts.scheme == "rediss" and options.get("ssl_cert_reqs", [""])[0].lower() in ("none", "optional")
        for parts, options in each
    ):
        yield warning(("store", "url"), "ssl_cert_reqs switches the check of the store's certificate off")


def unchecked_certificates(upstream: Upstream, identity: AnyProvider) -> Iterator[Note]:
    """Yield every check of certificates that is switched off."""
    message = "false: whoever is on the way can answer in the server's place; set ca, and verify: true"
    if not upstream.tls.verify:
        yield warning(("upstream", "tls", "verify"), message)
    if isinstance(identity, Keystone) and not identity.tls.verify:
        yield warning(("identity", "tls", "verify"), message)


def open_doors(
    server: Server,
    admin: Admin,
    identity: AnyProvider,
    limits: Limits,
    cors: CorsSettings,
) -> Iterator[Note]:
    """Yield what lets in more than an operator may want."""
    exposed = next((str(address) for address in admin.listen if not address.is_local), "")
    token = admin.token.get_secret_value() if admin.token else ""
    if exposed and token and (len(token) < LEAST_TOKEN or len(set(token)) < LEAST_DIFFERENT):
        yield warning(
            ("admin", "token"),
            f"can be guessed, and {exposed} can be reached from other machines: "
            f"use {LEAST_TOKEN} random characters or more, as `openssl rand -hex 32` prints them",
        )
    for index, network in enumerate(server.trusted_proxies):
        if network == UNIX:
            continue
        if network.prefixlen < (WIDEST_V4 if network.version == 4 else WIDEST_V6) and not network.is_private:
            yield warning(
                ("server", "trusted_proxies", index),
                f"{network} trusts nearly everybody: any client can choose the address that it is counted by",
            )
    yield from _open_paths(identity)
    absolute = limits.absolute
    if not limits.rates and absolute.concurrent is None:
        yield warning(("limits",), "there are no limits: one consumer can take the whole API")
    if cross_origin.ANY in cors.origins:
        yield warning(("cors", "origins"), "* lets every page of the world read answers")
    for index, pattern in enumerate(cors.origin_patterns):
        if cross_origin.fits_everybody(pattern):
            yield warning(("cors", "origin_patterns", index), "fits every origin: any page can read answers")


def _open_paths(identity: AnyProvider) -> Iterator[Note]:
    if isinstance(identity, NoIdentity):
        yield warning(("identity", "provider"), "none: no request needs a token")
        return
    for index, template in enumerate(identity.anonymous):
        if OpenPaths([template], exact=identity.anonymous_exact).has(A_SERVER):
            yield warning(("identity", "anonymous", index), f"{template} opens {A_SERVER}: it needs no token")
    if identity.on_missing != "reject":
        yield warning(
            ("identity", "on_missing"),
            f"{identity.on_missing}: requests without a valid token reach the upstream, which must refuse "
            "what X-Identity-Status calls Invalid",
        )


def peers_without_addresses(server: Server, limits: Limits) -> Iterator[Note]:
    """Yield a limit by address that takes all who connect over a unix socket for one client."""
    if UNIX in server.trusted_proxies or not any(address.path for address in server.listen):
        return
    for path in by_address(limits):
        yield warning(
            path,
            "counts all who connect over the unix socket as one: they have no address; name unix in "
            "server.trusted_proxies if a proxy connects there that tells the client's",
        )


def long_trust(identity: AnyProvider) -> Iterator[Note]:
    """Yield every time for which a token is believed that is longer than a revocation may take."""
    if not isinstance(identity, Keystone):
        return
    for key in ("ttl", "stale_if_unavailable"):
        seconds = getattr(identity.cache, key)
        if seconds > LONG_TRUST_SECONDS:
            yield warning(
                ("identity", "cache", key),
                f"a token that is revoked stays valid for up to {format_duration(seconds)}",
            )
    if identity.cache.negative_ttl > LONG_TRUST_SECONDS:
        yield warning(
            ("identity", "cache", "negative_ttl"),
            f"a token that was refused once is refused for {format_duration(identity.cache.negative_ttl)}",
        )


def above_the_machine(
    machine: Machine,
    server: Server,
    upstream: Upstream,
    cache: Cache,
    limits: Limits,
    identity: AnyProvider,
) -> Iterator[Note]:
    """Yield every bound that is higher than what the machine has."""
    targets = upstream.max_connections * len(upstream.targets)
    wanted = server.max_connections + targets + DESCRIPTORS_FOR_THE_REST
    if machine.descriptors < FEWEST_DESCRIPTORS:
        yield Note(
            ("server", "max_connections"),
            f"the process may open {machine.descriptors} file descriptors, and needs {FEWEST_DESCRIPTORS} at "
            "least: raise LimitNOFILE or ulimit -Hn",
        )
    elif wanted > machine.descriptors:
        yield warning(
            ("server", "max_connections"),
            f"{server.max_connections} clients and {targets} connections to upstream.targets are more than "
            f"the {machine.descriptors} file descriptors that the process may open (ulimit -Hn)",
        )
    bounds: dict[KeyPath, int] = {("cache", "max_bytes"): cache.max_bytes if cache.routes else 0}
    if isinstance(identity, Keystone):
        bounds["identity", "cache", "max_bytes"] = identity.cache.max_bytes
    wanted = server.workers * sum(bounds.values())
    if machine.memory and wanted > machine.memory:
        largest = max(bounds, key=lambda path: bounds[path])
        yield warning(
            largest,
            f"{' and '.join(map(dotted, bounds))} may take {_rounded(wanted)} in {server.workers} processes, "
            f"more than the memory that there is, {_rounded(machine.memory)}",
        )


def _rounded(size: int) -> str:
    return f"{size // 1024**2}MiB"


def _is_clear_and_remote(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "http" and not _is_here(parts.hostname or "")


def _is_here(host: str) -> bool:
    """Return True if ``host`` is a name or address by which only this machine is reached."""
    if not host or host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
