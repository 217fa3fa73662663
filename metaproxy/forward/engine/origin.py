"""Origins: the ends of connections, and opening one."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import httpx

from metaproxy.forward.engine.addresses import Resolve, connected_socket, is_address
from metaproxy.forward.engine.connection import Connection
from metaproxy.forward.errors import NameNotResolved, TLSFailed

DEFAULT_PORTS = {"http": 80, "https": 443}


class Origin(NamedTuple):
    """Scheme, host and port of an upstream; for a unix socket its path stands in ``host``."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: httpx.URL) -> "Origin":
        """Return the origin of ``url``: http, https, or ``unix:/path/of/the.sock``."""
        if url.scheme == "unix":
            return cls("unix", url.path, 0)
        if url.scheme not in DEFAULT_PORTS or not url.host:
            raise httpx.UnsupportedProtocol(f"no connection can be made to {url.scheme}://{url.host}")
        return cls(url.scheme, url.host, url.port or DEFAULT_PORTS[url.scheme])

    def __str__(self) -> str:
        """The origin as a configuration names it."""
        if self.scheme == "unix":
            return f"unix:{self.host}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + (
            f":{self.port}" if self.port != DEFAULT_PORTS[self.scheme] else ""
        )


async def connect(
    origin: Origin,
    factory: Callable[[], Connection],
    *,
    tls: ssl.SSLContext | None,
    seconds: float,
    resolve: Resolve | None = None,
) -> Connection:
    """Open a connection to ``origin`` within ``seconds``; raises httpx.TransportError.

    ``resolve`` finds the addresses of a name; None asks the system.
    """
    loop = asyncio.get_running_loop()
    with _connect_errors(origin):
        async with asyncio.timeout(seconds):
            if origin.scheme == "unix":
                _, connection = await loop.create_unix_connection(factory, origin.host)
                return connection
            names: dict[str, Any] = (
                {"ssl": tls, "server_hostname": origin.host} if origin.scheme == "https" else {}
            )
            if is_address(origin.host):
                _, connection = await loop.create_connection(factory, origin.host, origin.port, **names)
            else:
                connected = await connected_socket(loop, origin.host, origin.port, resolve)
                _, connection = await loop.create_connection(factory, sock=connected, **names)
    return connection


@contextmanager
def _connect_errors(origin: Origin) -> Iterator[None]:
    # All of these are OSErrors in Python 3.11: the order decides.
    try:
        yield
    except TimeoutError as error:
        raise httpx.ConnectTimeout(f"no connection to {origin.host} in time") from error
    except (socket.gaierror, UnicodeError) as error:
        # UnicodeError: the name is too long for the IDNA codec, which has no error of its own.
        raise NameNotResolved(f"{origin.host} has no address") from error
    except ssl.SSLError as error:
        raise TLSFailed(f"no TLS session with {origin.host}: {_tls_cause(error)}") from error
    except OSError as error:
        raise httpx.ConnectError(f"no connection to {origin.host}: {error.strerror or error}") from error


def _tls_cause(error: ssl.SSLError) -> str:
    """Return what is wrong with the certificate, if that is the cause; else OpenSSL's word."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    return (error.reason or "the connection ended").lower().replace("_", " ")
