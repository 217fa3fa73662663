"""The header fields in which a proxy in front tells an application about the client, as data.

Facts this file rests on. Applications and frameworks believe such fields without asking who wrote them: the
client's address, scheme, host and path, its certificate, its user. There are a few by standard (RFC 7239,
RFC 9440) and a family for each product, most of them under a common prefix. So prefixes are taken off
together with a list of the names that have none. A field of a trusted proxy is believed, but only where it
does not contradict what the proxy says in the fields that are believed by name.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

from metaproxy.memo import Memo
from metaproxy.protocol.addresses import canonical
from metaproxy.protocol.headers import Header, list_members

PREFIXES = (
    b"x-forwarded-",  # For, Proto, Host, Port, Ssl, User, Email, Client-Cert, Tls-Client-Cert, …
    b"x-original-",  # Url, Uri, Host, Method, Proto, Forwarded-For: IIS, ingress-nginx
    b"x-envoy-",  # External-Address, Internal, Original-Path, …
    b"x-real-",
    b"x-remote-",  # User, Group, Extra-*: authenticating proxies of Kubernetes, Grafana; Addr, IP
    b"remote-",  # User, Groups, Name, Email: Authelia and CGI; Addr
    b"x-auth-request-",  # oauth2-proxy
    b"x-authentik-",
    b"x-webauth-",
    b"x-authenticated-user",
    b"x-goog-authenticated-user-",
    b"x-goog-iap-",
    b"x-ms-client-principal",
    b"x-amzn-oidc-",
    b"x-amzn-mtls-",
    b"x-consumer-",  # Kong
    b"x-credential-",
    b"x-client-cert",
    b"client-cert",  # RFC 9440
    b"x-ssl-",
    b"ssl-client-",
    b"x-tls-",
    b"x-arr-",  # IIS's application request routing
    b"x-appengine-",
    b"x-azure-",
    b"x-accel-",
    b"cf-",  # Connecting-IP, Visitor, Access-*: Cloudflare
    b"cloudfront-",
    b"fastly-",
    b"fly-",
)

ADDRESSES = frozenset(
    {
        b"cf-connecting-ip",
        b"cf-connecting-ipv6",
        b"cf-pseudo-ipv4",
        b"client-ip",
        b"do-connecting-ip",
        b"fastly-client-ip",
        b"fly-client-ip",
        b"proxy-client-ip",
        b"remote-addr",
        b"true-client-ip",
        b"wl-proxy-client-ip",
        b"x-appengine-user-ip",
        b"x-azure-clientip",
        b"x-azure-socketip",
        b"x-client-ip",
        b"x-clientip",
        b"x-cluster-client-ip",
        b"x-envoy-external-address",
        b"x-nf-client-connection-ip",
        b"x-original-remote-addr",
        b"x-originating-ip",
        b"x-proxyuser-ip",
        b"x-real-ip",
        b"x-remote-addr",
        b"x-remote-ip",
        b"x-true-client-ip",
    }
)
"""Each names one address: the client's."""

SCHEMES = frozenset(
    {
        b"cloudfront-forwarded-proto",
        b"front-end-https",
        b"x-forwarded-protocol",
        b"x-forwarded-scheme",
        b"x-forwarded-ssl",
        b"x-original-proto",
        b"x-original-scheme",
        b"x-scheme",
        b"x-url-scheme",
    }
)
"""Each says whether the client used TLS."""

OTHERS = frozenset(
    {
        b"forwarded",
        b"forwarded-for",
        b"forwarded-proto",
        b"proxy",  # a CGI server makes HTTP_PROXY of it, which HTTP clients obey (CVE-2016-5385)
        b"x-anonymous-consumer",
        b"x-cluster-client",
        b"x-forward-for",
        b"x-forwarded",
        b"x-host",
        b"x-http-host-override",
        b"x-rewrite-url",
        b"x-rewrite-uri",
        b"x-script-name",
        b"x-sendfile-type",
        b"x-waws-unencoded-url",
    }
)
"""Fields of proxies without a common prefix."""

NAMES = ADDRESSES | SCHEMES | OTHERS

_told: Memo[bytes, bool] = Memo(max_size=64)

_OLD_FAMILY = (b"x-forwarded-", b"x-forwarded")
_UNKEYED = ADDRESSES | {b"forwarded", b"forwarded-for", b"x-forward-for", b"x-forwarded-for"}
_LAST_COUNTS = frozenset({b"x-forwarded-host", b"x-forwarded-port"})
_SECURE = frozenset({b"https", b"ssl", b"on", b"1", b"true", b"yes", b"wss"})


def is_told_by_proxies(name: bytes) -> bool:
    """Say whether the field ``name`` (lower case) is one that only a proxy in front may write."""
    told = _told.get(name)
    return _told.keep(name, name in NAMES or name.startswith(PREFIXES), len(name)) if told is None else told


def without_told(headers: Iterable[Header]) -> list[Header]:
    """Return ``headers`` of a peer that is not trusted: without what only a proxy may write."""
    return [header for header in headers if not is_told_by_proxies(header[0])]


def without_other_family(
    headers: Iterable[Header], believed: Literal["x-forwarded", "forwarded"]
) -> list[Header]:
    """Return ``headers`` of a trusted proxy without the family that is not ``believed``."""
    if believed == "x-forwarded":
        return [header for header in headers if header[0] != b"forwarded"]
    return [header for header in headers if not header[0].startswith(_OLD_FAMILY)]


def without_contradictions(headers: Iterable[Header], address: str, scheme: str) -> list[Header]:
    """Return ``headers`` of a trusted proxy without fields that contradict what is believed.

    That is another address than ``address`` (none contradicts ""), and another scheme than ``scheme``.
    """
    return [header for header in headers if not _contradicts(header, address, scheme)]


def nearest(headers: Sequence[Header]) -> list[Header]:
    """Return ``headers`` of a trusted proxy with the last value alone of X-Forwarded-Host and -Port.

    That is what the proxy next to us has written; what stands in front of it may be the client's.
    """
    names = [name for name, _ in headers]
    if _LAST_COUNTS.isdisjoint(names):
        return list(headers)
    return [
        (name, _last(value) if name in _LAST_COUNTS else value)
        for index, (name, value) in enumerate(headers)
        if name not in _LAST_COUNTS or name not in names[index + 1 :]
    ]


def keyed(headers: Iterable[Header]) -> tuple[Header, ...]:
    """Return the fields of a trusted proxy that can change an answer: all but those of addresses."""
    return tuple([h for h in headers if h[0] not in _UNKEYED and is_told_by_proxies(h[0])])


def _last(field_value: bytes) -> bytes:
    members = list(list_members(field_value))
    return members[-1] if members else b""


def _contradicts(header: Header, address: str, scheme: str) -> bool:
    name, value = header
    if name in ADDRESSES:
        return bool(address) and canonical(value.decode("latin-1")) != address
    return name in SCHEMES and (value.lower() in _SECURE) != (scheme == "https")
