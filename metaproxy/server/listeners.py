"""Sockets to listen on, bound before anything else starts, so that a taken port is known at once."""

import contextlib
import errno
import os
import socket
import ssl
import stat
from pathlib import Path

from metaproxy.config.addresses import ListenAddress

BACKLOG = 4096
UNIX_MODE = 0o660


class ListenError(Exception):
    """An address cannot be listened on; the message says which and why."""


def bind(address: ListenAddress) -> socket.socket:
    """Return a listening socket for ``address``; raises ListenError.

    A unix socket that nobody listens on any more is replaced; group members may connect to the new one.
    """
    try:
        return _bind_unix(Path(address.path)) if address.path else _bind_tcp(address.host, address.port)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        if error.errno == errno.EADDRINUSE:
            reason += " (is another metaproxy running?)"
        raise ListenError(f"cannot listen on {address}: {reason}") from error


def nth(address: ListenAddress, number: int) -> ListenAddress:
    """Return the address for the worker ``number``: as many ports further, or the socket's path with it."""
    if number == 0:
        return address
    if address.path:
        return ListenAddress(path=f"{address.path}.{number}")
    return ListenAddress(address.host, address.port + number if address.port else 0)


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


def tls_context(certificate: Path, key: Path, client_ca: Path | None) -> ssl.SSLContext:
    """Return the context of a TLS listener; raises ListenError where a file cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key)
        if client_ca is not None:
            context.load_verify_locations(client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        reason = getattr(error, "strerror", None) or getattr(error, "reason", None) or str(error)
        raise ListenError(f"cannot use the TLS certificate {certificate}: {reason}") from error
    return context


def _bind_tcp(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, where = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    listener.settimeout(0)
    return listener


def _bind_unix(path: Path) -> socket.socket:
    _remove_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        os.chmod(path, UNIX_MODE)  # noqa: PTH101 - one call, no second look at the path
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    listener.settimeout(0)
    return listener


def _remove_stale(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise OSError(errno.EEXIST, "a file that is no socket stands there")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                path.unlink()
            else:
                raise OSError(errno.EADDRINUSE, "address already in use")
