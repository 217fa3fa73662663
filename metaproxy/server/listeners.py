"""Sockets to listen on, bound before anything else starts, so that a taken port is known at once.

Facts this file rests on. A socket on ``[::]`` takes connections of IPv4 as well unless ``IPV6_V6ONLY`` is
set (RFC 3493 §5.3), and then no socket on ``0.0.0.0`` can have the same port. So it is set if an IPv4 address
with the same port is to be bound too, and not set for a lone ``[::]``. A name may have several addresses
(``localhost`` has ``::1`` and ``127.0.0.1``): each of them is bound, and the clients choose. The path of a
unix socket outlives the socket: it is removed at the end, unless another process has put its own there.

systemd passes sockets that it has bound (socket activation, sd_listen_fds(3)) from descriptor 3 on.
``LISTEN_PID`` says for which process, ``LISTEN_FDS`` how many, ``LISTEN_FDNAMES`` their names: ``admin`` is
for the admin listener, every other for the data listener.
"""

import contextlib
import errno
import ipaddress
import os
import socket
import stat
from collections.abc import Callable, Iterable, MutableMapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from metaproxy.config.addresses import ListenAddress

logger = structlog.get_logger("metaproxy")

BACKLOG = 4096
UNIX_MODE = 0o660
FIRST_DESCRIPTOR = 3
VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


NOT_ON_THIS_MACHINE = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT})
"""A name may have an address of a family that this machine does not have."""
SAME_PORT_ATTEMPTS = 16

Place = tuple[int, tuple[Any, ...]]
"""A family of addresses, and an address of it as the socket module has it."""
Resolve = Callable[..., list[tuple[Any, ...]]]
"""``socket.getaddrinfo``, or what stands in for it."""


class ListenError(Exception):
    """An address cannot be listened on; the message says which and why."""


class UnixListener(socket.socket):
    """A listening unix socket that knows which file is its own."""

    path: Path | None = None
    _file: tuple[int, int] = (0, 0)

    def own(self, path: Path) -> None:
        """Take note that the file at ``path`` has just been made by ``bind``."""
        self.path, self._file = path, _identity(path)

    def remove_path(self) -> None:
        """Remove the file, so that no client can find the socket. A file that another process made stays."""
        if self.path is None:
            return
        with contextlib.suppress(FileNotFoundError):
            if _identity(self.path) == self._file:
                self.path.unlink()


def bind_all(
    addresses: Sequence[ListenAddress], *, resolve: Resolve = socket.getaddrinfo
) -> list[socket.socket]:
    """Return listening sockets for all of ``addresses``; raises ListenError, and then nothing is bound.

    A name is bound at each of its addresses. A unix socket that no process listens on is replaced; group
    members may connect to the new one.
    """
    listeners: list[socket.socket] = []
    for address in addresses:
        try:
            listeners += _bind(address, addresses, resolve)
        except OSError as error:
            close_all(listeners)
            reason = (error.strerror or str(error)).lower()
            if error.errno == errno.EADDRINUSE:
                reason += " (is another metaproxy running?)"
            raise ListenError(f"cannot listen on {address}: {reason}") from error
    return listeners


def bind(address: ListenAddress) -> socket.socket:
    """Return a listening socket for ``address``, the first one if it is a name; raises ListenError."""
    first, *others = bind_all((address,))
    close_all(others)
    return first


def close_all(listeners: Iterable[socket.socket]) -> None:
    """Close ``listeners``, and remove the paths of unix sockets that ``bind_all`` has made."""
    for listener in listeners:
        if isinstance(listener, UnixListener):
            listener.remove_path()
        listener.close()


def port_of(listener: socket.socket) -> int:
    """Return the port of a TCP listener, 0 for a unix socket."""
    name = listener.getsockname()
    return name[1] if isinstance(name, tuple) else 0


def describe(listener: socket.socket, *, tls: bool = False) -> str:
    """Return the address of ``listener`` as an operator would type it."""
    name = listener.getsockname()
    if not isinstance(name, tuple):
        return f"unix:{name}"
    host = f"[{name[0]}]" if ":" in name[0] else name[0]
    return f"{'https' if tls else 'http'}://{host}:{name[1]}"


def _bind(address: ListenAddress, beside: Sequence[ListenAddress], resolve: Resolve) -> list[socket.socket]:
    if address.path:
        return [_bind_unix(Path(address.path))]
    found = resolve(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    places = list(dict.fromkeys((family, where) for family, _, _, _, where in found))
    v6_only = any(other.port == address.port and _is_ipv4(other) for other in beside)
    if len(places) == 1:
        return [_bind_tcp(*places[0], v6_only=v6_only)]
    if address.port:
        return _bind_name(address, places)
    for _ in range(SAME_PORT_ATTEMPTS):
        try:
            return _bind_name(address, places)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    return _bind_name(address, places)


def _bind_name(address: ListenAddress, places: Sequence[Place]) -> list[socket.socket]:
    """Bind every address that a name has on this machine, all with the same port."""
    listeners: list[socket.socket] = []
    missing: list[OSError] = []
    for family, where in places:
        port = where[1] or (port_of(listeners[0]) if listeners else 0)
        try:
            listeners.append(_bind_tcp(family, (where[0], port, *where[2:]), v6_only=True))
        except OSError as error:
            if error.errno not in NOT_ON_THIS_MACHINE:
                close_all(listeners)
                raise
            missing.append(error)
            logger.warning(
                "an address of a name is not listened on",
                listen=str(address),
                address=where[0],
                reason=(error.strerror or str(error)).lower(),
            )
    if not listeners:
        raise missing[0]
    return listeners


def _bind_tcp(family: int, where: tuple[Any, ...], *, v6_only: bool) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6_only)
        listener.bind(where)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    listener.settimeout(0)
    return listener


def _is_ipv4(address: ListenAddress) -> bool:
    try:
        return isinstance(ipaddress.ip_address(address.host), ipaddress.IPv4Address)
    except ValueError:
        return bool(address.host)  # a name may have an address of IPv4


def _bind_unix(path: Path) -> UnixListener:
    _remove_stale(path)
    listener = UnixListener(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        listener.own(path)
        os.chmod(path, UNIX_MODE)  # noqa: PTH101 - one call, no second look at the path
        listener.listen(BACKLOG)
    except OSError:
        close_all([listener])
        raise
    listener.settimeout(0)
    return listener


def _remove_stale(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise OSError(errno.EEXIST, "a file that is no socket stands there")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(0)  # a process that hangs has a full queue, at which connecting waits
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                path.unlink()
            except BlockingIOError:
                raise OSError(errno.EADDRINUSE, "address already in use") from None
            else:
                raise OSError(errno.EADDRINUSE, "address already in use")


def _identity(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_dev, status.st_ino


@dataclass(frozen=True, slots=True)
class Activated:
    """The sockets that were passed; none where the process was started otherwise."""

    data: list[socket.socket] = field(default_factory=list)
    admin: list[socket.socket] = field(default_factory=list)


def activated(environ: MutableMapping[str, str] = os.environ, first: int = FIRST_DESCRIPTOR) -> Activated:
    """Take the sockets that systemd has passed, and forget the variables that told so.

    ``first`` is the number of the first descriptor.
    """
    pid, count, names = (environ.pop(name, "") for name in VARIABLES)
    found = Activated()
    if pid != str(os.getpid()):
        return found
    known = dict(enumerate(names.split(":")))
    for index in range(int(count)):
        listener = socket.socket(fileno=first + index)
        listener.settimeout(0)
        (found.admin if known.get(index) == "admin" else found.data).append(listener)
    return found
