"""``http-connection-pool.cfg.xml``: how many connections go to the upstream, and how long they may take."""

from metaproxy.config.repose.container import milliseconds
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
)


def convert(root: Element, draft: Draft) -> None:
    """Write the default pool as the one to the upstream."""
    pools = root.all("pool")
    default = next((pool for pool in pools if pool.flag("default")), pools[0] if pools else None)
    for pool in pools:
        if pool is not default:
            draft.left_out(pool.tell(), "there is one pool to the upstream, and one of its own to identity")
            continue
        milliseconds(pool, "http.connection.timeout", "upstream.timeouts.connect", draft)
        milliseconds(pool, "http.socket.timeout", "upstream.timeouts.read", draft)
        _connections(pool, draft)
        for name in NO_COUNTERPART:
            if pool.attribute(name):
                draft.left_out(f"{pool.place} @{name}", "the engine has a fixed, safe value")


def _connections(pool: Element, draft: Draft) -> None:
    names = ("http.conn-manager.max-per-route", "http.conn-manager.max-total")
    found = {name: int(text) for name in names if (text := pool.attribute(name)).isdecimal() and int(text)}
    if found:
        name = min(found, key=found.__getitem__)
        draft.set("upstream.max_connections", found[name], f"{pool.place} @{name}")
