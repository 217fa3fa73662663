"""Addresses: free of each other, of this machine, and not those of the upstream."""

import errno
import ipaddress
import os
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from metaproxy.config.addresses import ListenAddress
from metaproxy.config.model.identity import AnyProvider
from metaproxy.config.model.server import Admin, Server
from metaproxy.config.model.upstream import Upstream
from metaproxy.preflight.machine import Machine
from metaproxy.preflight.note import Note, warning
from metaproxy.settings.section import KeyPath

WILDCARDS = ("0.0.0.0", "::")
MOST_SOCKET_PATH = 107
"""Bytes of sun_path (unix(7)), without the NUL at its end."""


def overlaps(server: Server, admin: Admin) -> Iterator[Note]:
    """Yield every address that cannot be listened on because another one has it."""
    taken: list[tuple[ListenAddress, str]] = []  # with the list that names it
    for path, address, worker in _bound(server, admin):
        for earlier, name in taken:
            if _overlap(address, earlier, of_one_list=name == f"{path[0]}.listen"):
                of_worker = f" of worker {worker}" if worker else ""
                yield Note(path, f"{address}{of_worker} is the same address as {earlier} of {name}")
                break
        taken.append((address, str(path[0]) + ".listen"))


def on_this_machine(machine: Machine, server: Server, admin: Admin) -> Iterator[Note]:
    """Yield every address that this machine or this process may not bind."""
    if not machine.binds:
        return
    for path, address, _ in _bound(server, admin):
        if path[0] not in machine.passed and (problem := _problem(machine, address)):
            yield Note(path, f"{address}: {problem}")


def loops(server: Server, admin: Admin, upstream: Upstream, identity: AnyProvider) -> Iterator[Note]:
    """Yield every upstream that is metaproxy itself."""
    for index, target in enumerate(upstream.targets):
        path = ("upstream", "targets", index)
        host, port = _host_and_port(target.url)
        for name, addresses in (("server.listen", server.listen), ("admin.listen", admin.listen)):
            if any(_is_at(address, host, port, target.socket) for address in addresses):
                yield Note(path, f"{target} is metaproxy's own {name}: requests would go round in a circle")
                break
    for url in getattr(identity, "url", ()):
        host, port = _host_and_port(url)
        if any(_is_at(address, host, port, "") for address in server.listen):
            yield warning(
                ("identity", "url"), f"{url} is metaproxy's own server.listen: tokens are checked by itself"
            )


def _bound(server: Server, admin: Admin) -> Iterator[tuple[KeyPath, ListenAddress, int]]:
    """Yield every address that is bound, with its key and the worker that binds it."""
    for index, address in enumerate(server.listen):
        yield ("server", "listen", index), address, 0
    for worker in range(server.workers):
        for index, address in enumerate(admin.listen):
            yield ("admin", "listen", index), nth(address, worker), worker


def nth(address: ListenAddress, number: int) -> ListenAddress:
    """Return the admin address of the worker ``number``: so many ports further, or the path with it."""
    if number == 0:
        return address
    if address.path:
        return ListenAddress(path=f"{address.path}.{number}")
    return ListenAddress(address.host, address.port + number if address.port else 0)


def _overlap(one: ListenAddress, other: ListenAddress, *, of_one_list: bool) -> bool:
    if one.path or other.path:
        return one.path == other.path
    if one.port != other.port or not one.port:
        return False
    mine, others = _numbers(one.host), _numbers(other.host)
    if "::" in (one.host, other.host):
        # Beside an IPv4 address of its own list [::] takes IPv6 alone.
        return not of_one_list or bool(_v6(mine) and _v6(others))
    return bool(mine & others) or ("0.0.0.0" in (mine | others) and bool(_v4(mine) and _v4(others)))


def _v6(numbers: Iterable[str]) -> list[str]:
    return [number for number in numbers if ":" in number]


def _v4(numbers: Iterable[str]) -> list[str]:
    return [number for number in numbers if ":" not in number]


def _numbers(host: str) -> frozenset[str]:
    """The addresses of a name; a name that has none stands for itself."""
    try:
        return frozenset({str(ipaddress.ip_address(host))})
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return frozenset({host})
    return frozenset(str(where[0]) for *_, where in found)


def _problem(machine: Machine, address: ListenAddress) -> str:
    if address.path:
        return _socket_problem(Path(address.path))
    if address.port > 65535:
        return "a port is at most 65535, and each worker takes one more"
    if 0 < address.port < machine.first_free_port and not machine.binds_any_port:
        return (
            f"ports below {machine.first_free_port} are privileged: "
            "use another one, or give the process CAP_NET_BIND_SERVICE"
        )
    return _host_problem(address.host)


def _host_problem(host: str) -> str:
    """The sentence about a host that no socket can be bound to. A free port of it is tried."""
    try:
        places = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        return "the name has no address"
    for family, kind, protocol, _, where in places:
        try:
            with socket.socket(family, kind, protocol) as probe:
                probe.bind(where)
        except OSError as error:
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                return (error.strerror or str(error)).lower()
        else:
            return ""
    return "is not an address of this machine"


def _socket_problem(path: Path) -> str:
    if len(os.fsencode(path)) > MOST_SOCKET_PATH:
        return f"the path of a unix socket has at most {MOST_SOCKET_PATH} bytes, a worker's number included"
    folder = path.parent
    if not folder.exists():
        return f"the folder {folder} does not exist"
    if not folder.is_dir():
        return f"{folder} is not a folder"
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"the folder {folder} is not writable"
    if path.exists() and not path.is_socket():
        return "a file that is not a socket has this name"
    return ""


def _host_and_port(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _is_at(address: ListenAddress, host: str, port: int, path: str) -> bool:
    """True if a connection to ``host`` and ``port``, or to the unix socket ``path``, ends at ``address``."""
    if path or address.path:
        return path == address.path
    if port != address.port:
        return False
    if address.host in WILDCARDS:
        return _is_own(host)
    return host == address.host or bool(_known(host) & _known(address.host))


def _known(host: str) -> frozenset[str]:
    """The addresses of a host as far as no name server has to be asked."""
    if host == "localhost":
        return frozenset({"127.0.0.1", "::1"})
    try:
        return frozenset({str(ipaddress.ip_address(host))})
    except ValueError:
        return frozenset({host.lower()})


def _is_own(host: str) -> bool:
    """True if ``host`` is this machine: a loopback address, its own name, or an address that can be bound."""
    if host.lower() in ("localhost", socket.gethostname().lower()):
        return True
    try:
        number = ipaddress.ip_address(host)
    except ValueError:
        return False
    return number.is_loopback or number.is_unspecified or not _host_problem(host)
