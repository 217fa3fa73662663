"""``system-model.cfg.xml``: nodes, the filters that are in use, and where requests go."""

from dataclasses import dataclass

from metaproxy.config.repose.documents import Element
from metaproxy.config.repose.draft import Draft

FILE = "system-model.cfg.xml"


@dataclass(frozen=True, slots=True)
class FilterUse:
    """One filter of the chain: its name, the file that configures it, and where it was named."""

    name: str
    file: str
    place: str
    has_paths: bool
    """Whether Repose asked it about some paths only."""


def convert(root: Element, draft: Draft) -> list[FilterUse]:
    """Write listeners and targets; return the filters in their order."""
    # Until Repose 8 there was a cluster between the root and everything else.
    clusters = root.all("repose-cluster", "service-cluster")
    cluster = clusters[0] if clusters else root
    for other in clusters[1:]:
        draft.left_out(other.place, "is another cluster: convert it into a configuration of its own")
        other.tell()
    _nodes(cluster, draft)
    _destinations(cluster, draft)
    _services(cluster, draft)
    return _filters(cluster, draft)


def _nodes(cluster: Element, draft: Draft) -> None:
    nodes = [node for group in cluster.all("nodes") for node in group.all("node")]
    for index, node in enumerate(nodes):
        node.attribute("hostname")
        http, https = node.attribute("http-port"), node.attribute("https-port")
        if index:
            continue
        if https and https != "0":
            draft.set("server.listen", f"0.0.0.0:{https}", f"{node.place} @https-port")
            draft.set("server.tls.certificate", "/etc/metaproxy/tls/server.crt", f"{node.place} @https-port")
            draft.set("server.tls.key", "/etc/metaproxy/tls/server.key", f"{node.place} @https-port")
            draft.to_do(node.place, "put certificate and key there as PEM (keytool, then openssl pkcs12)")
            if http and http != "0":
                draft.left_out(f"{node.place} @http-port", "beside TLS there is no plain listener")
        elif http:
            draft.set("server.listen", f"0.0.0.0:{http}", f"{node.place} @http-port")
    if len(nodes) > 1:
        draft.to_do(
            nodes[1].place,
            f"run metaproxy on each of the {len(nodes)} nodes, and set store.url to one Redis for all: "
            "rates are counted together only there",
        )


def _destinations(cluster: Element, draft: Draft) -> None:
    groups = cluster.all("destinations")
    endpoints = [endpoint for group in groups for endpoint in group.all("endpoint")]
    if not endpoints:
        draft.set("upstream.targets", ["http://127.0.0.1:8774"], f"{FILE} names no endpoint")
        draft.to_do(FILE, "names no endpoint: set upstream.targets")
        return
    chosen = next((endpoint for endpoint in endpoints if endpoint.flag("default")), endpoints[0])
    for endpoint in endpoints:
        address = _address(endpoint)
        root_path = endpoint.attribute("root-path", "/")
        if endpoint is chosen:
            draft.set("upstream.targets", [address], endpoint.place)
            if root_path.strip("/"):
                draft.left_out(
                    f"{endpoint.place} @root-path",
                    "a path is not put in front: let the upstream serve it at /",
                )
        else:
            draft.left_out(
                endpoint.place,
                f"requests go to one upstream; run another metaproxy for {address} and let the load balancer "
                "choose by path",
            )


def _address(endpoint: Element) -> str:
    protocol = endpoint.attribute("protocol", "http")
    host, port = endpoint.attribute("hostname", "127.0.0.1"), endpoint.attribute("port")
    scheme = "https" if protocol == "https" else "http"
    return f"{scheme}://{host}" + (f":{port}" if port and port != "0" else "")


def _filters(cluster: Element, draft: Draft) -> list[FilterUse]:
    uses: list[FilterUse] = []
    for group in cluster.all("filters"):
        if group.attribute("bypass-uri-regex"):
            draft.left_out(
                f"{group.place} @bypass-uri-regex",
                "every path takes the whole line; name paths that need no token in identity.anonymous",
            )
        for each in group.all("filter"):
            name = each.attribute("name")
            file = each.attribute("configuration") or f"{name}.cfg.xml"
            uses.append(FilterUse(name, file, each.place, has_paths=bool(each.attribute("uri-regex"))))
    return uses


def _services(cluster: Element, draft: Draft) -> None:
    for group in cluster.all("services"):
        for service in group.all("service"):
            name = service.attribute("name")
            service.attribute("configuration")
            if name == "dist-datastore":
                draft.to_do(
                    service.place, "set store.url: Redis stands in the place of Repose's own datastore"
                )
            else:
                draft.left_out(service.place, "is a service of Repose's own; nothing here needs it")
