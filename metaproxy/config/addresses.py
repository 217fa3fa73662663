"""Addresses as types: of listeners, of upstreams, of trusted proxies."""

import ipaddress
import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import BeforeValidator

from metaproxy.protocol.addresses import Network, as_ipv4
from metaproxy.protocol.forwarded import UNIX, Unix
from metaproxy.settings.urls import as_list, split_http
from metaproxy.settings.written import NotWrittenSo, Written

_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.%]+\]")


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """A TCP address (``host``, ``port``; port 0 is any free one) or the path of a unix socket."""

    host: str = ""
    port: int = 0
    path: str = ""

    @property
    def is_local(self) -> bool:
        """True if only this machine can connect: a unix socket or a loopback address."""
        if self.path or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_listen(value: object) -> ListenAddress:
    """Return ``host:port``, ``[::]:port`` or ``unix:/path`` as an address; raises ValueError."""
    if isinstance(value, ListenAddress):
        return value
    text = value if isinstance(value, str) else ""
    if text.startswith("unix:"):
        return ListenAddress(path=_socket_path(text))
    host, _, port = text.rpartition(":")
    if not _HOST.fullmatch(host) or not _is_port(port):
        raise NotWrittenSo(
            "an address to listen on is host:port, [ipv6]:port or unix:/path; "
            "every interface is 0.0.0.0:port or [::]:port"
        )
    return ListenAddress(host.strip("[]"), int(port))


@dataclass(frozen=True, slots=True)
class Target:
    """An upstream: ``url`` is scheme, host and port; ``socket`` the path of its unix socket, or ""."""

    url: str
    socket: str = ""

    def __str__(self) -> str:
        return f"unix:{self.socket}" if self.socket else self.url


def parse_target(value: object) -> Target:
    """Return ``http://host:port``, ``https://host:port`` or ``unix:/path`` as a target; raises ValueError."""
    if isinstance(value, Target):
        return value
    text = value if isinstance(value, str) else ""
    if text.startswith("unix:"):
        return Target("http://localhost", _socket_path(text))
    parts = split_http(text, "a target is http://host:port, https://host:port or unix:/path")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError("a target has no path of its own: write scheme, host and port alone")
    return Target(f"{parts.scheme}://{parts.netloc}")


def parse_network(value: object) -> Network | Unix:
    """Return ``10.0.0.0/8`` or a single address as a network, or ``unix``; raises ValueError.

    A network of IPv4-mapped addresses is the IPv4 network that it means.
    """
    if isinstance(value, ipaddress.IPv4Network | ipaddress.IPv6Network) or value == UNIX:
        return value
    try:
        return as_ipv4(ipaddress.ip_network(value if isinstance(value, str) else ""))
    except ValueError as error:
        detail = "; its last bits must be zero" if "host bits" in str(error) else ""
        raise NotWrittenSo(f"a network is 10.0.0.0/8, fd00::/8 or one address{detail}") from None


def _socket_path(text: str) -> str:
    path = text.removeprefix("unix:")
    if not path.startswith("/") or "\0" in path:
        raise ValueError("the path of a unix socket is absolute: unix:/run/metaproxy/metaproxy.sock")
    if len(path.encode()) > 107:  # sun_path of Linux's unix(7), less its final NUL
        raise ValueError("the path of a unix socket has at most 107 bytes")
    return path


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) <= 65535


_Listen = Annotated[
    ListenAddress,
    Written("address", parse_listen, str, r"unix:/.+|.+:[0-9]{1,5}", "127.0.0.1:8774"),
]
ListenAddresses = Annotated[
    tuple[_Listen, ...], BeforeValidator(as_list, json_schema_input_type=_Listen | list[_Listen])
]
TargetUrl = Annotated[
    Target, Written("target", parse_target, str, r"unix:/.+|https?://.+", "http://127.0.0.1:18774")
]
NetworkAddress = Annotated[
    Network | Unix, Written("network", parse_network, str, r"[0-9A-Fa-f:.]+(?:/[0-9]+)?|unix", "10.0.0.0/8")
]
