"""``system-model.cfg.xml``: nodes, the filters that are in use, and where requests go.

Facts this file rests on (system-model.xsd). A filter may be asked about some requests only: those of a
``uri-regex``, or those that its child elements describe. Exactly one endpoint is the default one. An
endpoint without ``protocol`` is reached over https, and one without ``hostname`` is on the same host. The
Host field names the endpoint unless ``rewrite-host-header`` is false.
"""

from dataclasses import dataclass

from metaproxy.config.repose.documents import Element
from metaproxy.config.repose.draft import Draft

FILE = "system-model.cfg.xml"
GUARD = "system-model"
CRITERIA = ("methods", "header", "uri", "and", "not", "or")
EVERY_PATH = frozenset({".*", "/.*", "^.*$", "^/.*$"})

HARMLESS = {
    "phone-home": "metaproxy does not report to anybody",
    "tracing-header": "X-OpenStack-Request-ID and, with the section tracing, traceparent name a request",
}
"""Elements beside filters and destinations that refuse nothing, and what stands for them."""

SERVICES = {
    "dist-datastore": "with one node there is nobody to share it with; store.url shares it with workers",
    "atom-feed-service": "only filters ask it; each of them is reported where it does",
    "http-connection-pool": "is read from its own file",
    "response-messaging-service": "refusals have the compute API's own words",
}
"""Services that refuse nothing, and what stands for them."""


@dataclass(frozen=True, slots=True)
class FilterUse:
    """One filter of the chain: its name, the file that configures it, and where it was named.

    ``is_conditional`` says whether Repose asked it about some requests only.
    """

    name: str
    file: str
    place: str
    is_conditional: bool = False


def convert(root: Element, draft: Draft) -> list[FilterUse]:
    """Write listeners and targets; return the filters in their order."""
    # Until Repose 8 there was a cluster between the root and everything else.
    cluster = root.first("repose-cluster") or root
    for other in root.all("repose-cluster"):
        if other is not cluster:
            draft.not_converted(
                f"{GUARD}/cluster",
                other.tell(),
                "is another cluster with filters of its own: convert it into a configuration of its own",
            )
    cluster.ignore("id")
    _nodes(cluster, draft)
    _destinations(cluster, draft)
    _host(cluster, draft)
    _services(cluster, draft)
    for tag, why in HARMLESS.items():
        for element in dict.fromkeys((*root.all(tag), *cluster.all(tag))):
            draft.left_out(element.tell(), why)
    return _filters(cluster, draft)


def _nodes(cluster: Element, draft: Draft) -> None:
    nodes = [node for group in cluster.one("nodes") for node in group.all("node")]
    for index, node in enumerate(nodes):
        node.ignore("id", "hostname")
        http, https = node.token("http-port"), node.token("https-port")
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
        draft.not_converted(
            f"{GUARD}/nodes",
            nodes[1].place,
            f"{len(nodes)} nodes counted rates together, and each may have had ports of its own; without "
            f"store.url every rate is {len(nodes)} times as high: set store.url to one Redis for all",
        )


def _destinations(cluster: Element, draft: Draft) -> None:
    groups = cluster.one("destinations")
    endpoints = [endpoint for group in groups for endpoint in group.all("endpoint")]
    for group in groups:
        if group.attribute("url-encode-headers"):
            draft.left_out(f"{group.place} @url-encode-headers", "field values are passed on as they came")
    if not endpoints:
        draft.set("upstream.targets", ["http://127.0.0.1:8774"], f"{FILE} names no endpoint")
        draft.to_do(FILE, "names no endpoint: set upstream.targets")
        return
    defaults = [endpoint for endpoint in endpoints if endpoint.flag("default")]
    if len(defaults) != 1:
        draft.not_converted(
            f"{GUARD}/destinations",
            endpoints[0].place,
            f"{len(defaults)} endpoints are the default one, where Repose starts with exactly one only",
        )
    chosen = (defaults or endpoints)[0]
    for endpoint in endpoints:
        address = _address(endpoint, draft)
        root_path = endpoint.attribute("root-path")
        if endpoint is not chosen:
            draft.left_out(
                endpoint.place,
                f"requests go to one upstream; run another metaproxy for {address} and let the load balancer "
                "choose by path",
            )
            continue
        draft.set("upstream.targets", [address], endpoint.place)
        if root_path.strip("/"):
            draft.not_converted(
                f"{GUARD}/root-path",
                f"{endpoint.place} @root-path",
                f"clients reached what is below {root_path}; here they reach every path of the upstream",
            )


def _address(endpoint: Element, draft: Draft) -> str:
    endpoint.ignore("id", "chunked-encoding")
    protocol = endpoint.attribute("protocol", "https")
    if protocol not in ("http", "https"):
        endpoint.refuse("protocol")
    host, port = endpoint.attribute("hostname", "localhost"), endpoint.token("port")
    scheme = "http" if protocol == "http" else "https"
    return f"{scheme}://{host}" + (f":{port}" if port and port != "0" else "")


def _host(cluster: Element, draft: Draft) -> None:
    rewrites = cluster.flag("rewrite-host-header", default=True)
    source = f"{cluster.place} @rewrite-host-header"
    draft.set("upstream.host_header", "upstream" if rewrites else "preserve", source)


def _filters(cluster: Element, draft: Draft) -> list[FilterUse]:
    uses: list[FilterUse] = []
    for group in cluster.one("filters"):
        if group.has("bypass-uri-regex"):
            group.attribute("bypass-uri-regex")
            draft.not_converted(
                f"{GUARD}/bypass-uri-regex",
                f"{group.place} @bypass-uri-regex",
                "these paths went past every filter; here they take the whole line: open them with "
                "identity.anonymous and authorization.rules",
            )
        uses += [_use(each, draft) for each in group.all("filter")]
    return uses


def _use(each: Element, draft: Draft) -> FilterUse:
    name = each.attribute("name")
    each.ignore("id")
    file = each.attribute("configuration") or f"{name}.cfg.xml"
    criteria = [criterion.tell() for criterion in each.all(*CRITERIA)]
    expression = each.attribute("uri-regex")
    is_conditional = bool(criteria) or (each.has("uri-regex") and expression not in EVERY_PATH)
    if is_conditional:
        draft.not_converted(
            f"{name}/condition",
            criteria[0] if criteria else f"{each.place} @uri-regex",
            "Repose asked this filter about some requests only; a stage here has no condition of its own",
        )
    return FilterUse(name, file, each.place, is_conditional)


def _services(cluster: Element, draft: Draft) -> None:
    for group in cluster.one("services"):
        for service in group.all("service"):
            name = service.attribute("name")
            service.ignore("configuration")
            if why := SERVICES.get(name):
                draft.left_out(service.place, why)
            else:
                draft.not_converted(
                    f"{GUARD}/{name}",
                    service.place,
                    "is a service without counterpart; if it is a datastore, nodes counted rates together: "
                    "set store.url",
                )
