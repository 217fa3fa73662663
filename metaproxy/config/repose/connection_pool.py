"""``http-connection-pool.cfg.xml``: how many connections go to the upstream, and how long they may take."""

from pathlib import Path

from metaproxy.config.repose.container import STORES, milliseconds
from metaproxy.config.repose.documents import Element
from metaproxy.config.repose.draft import Draft

FILE = "http-connection-pool.cfg.xml"

NO_COUNTERPART = (
    "http.connection.max-header-count",
    "http.connection.max-line-length",
    "http.connection.max-status-line-garbage",
    "http.socket.buffer-size",
    "http.tcp.nodelay",
    "keepalive.timeout",
    "chunked-encoding",
    "cache.ttl",
)

CONNECTIONS = ("http.conn-manager.max-per-route", "http.conn-manager.max-total")


def convert(root: Element, draft: Draft, folder: Path) -> None:
    """Write the default pool as the one to the upstream."""
    pools = root.all("pool")
    default = next((pool for pool in pools if pool.flag("default")), pools[0] if pools else None)
    for pool in pools:
        pool.ignore("id", "default")
        if [name for name in STORES if pool.attribute(name)]:
            draft.to_do(
                pool.place, "name its certificates in upstream.tls or identity.tls: calls fail without"
            )
        if pool is not default:
            _other(pool, draft)
            continue
        milliseconds(pool, "http.connection.timeout", "upstream.timeouts.connect", draft)
        milliseconds(pool, "http.socket.timeout", "upstream.timeouts.read", draft)
        _connections(pool, draft)
        for name in NO_COUNTERPART:
            if pool.token(name):
                draft.left_out(f"{pool.place} @{name}", "the engine has a fixed, safe value")


def _connections(pool: Element, draft: Draft) -> None:
    found = {name: int(text) for name in CONNECTIONS if (text := pool.token(name)).isdecimal() and int(text)}
    if found:
        name = min(found, key=found.__getitem__)
        draft.set("upstream.max_connections", found[name], f"{pool.place} @{name}")


def _other(pool: Element, draft: Draft) -> None:
    """Report a pool that is not the default one. A proxy or fields of its own stay unread."""
    for name in (*NO_COUNTERPART, *CONNECTIONS, "http.connection.timeout", "http.socket.timeout"):
        pool.ignore(name)
    draft.left_out(pool.place, "there is one pool to the upstream, and one of its own to identity")
