"""TLS files that a test renews, and what a client sees of them."""

import os
import shutil
import signal
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tests.e2e.deployment import Proxy
from tests.e2e.processes import children
from tests.unit.forward.certificates import Authority, Issued

REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
SECONDS = 30


def put(path: Path, content: Path, how: str) -> None:
    """Let ``path`` have the content of ``content``, in the way that ``how`` names."""
    match how:
        case "written":
            shutil.copyfile(content, path)
        case "renamed":
            shutil.copyfile(content, path.with_suffix(".new"))
            path.with_suffix(".new").rename(path)
        case "linked":
            link = path.with_suffix(".link")
            link.symlink_to(content)
            link.rename(path)
        case "deleted":
            path.unlink()
            shutil.copyfile(content, path)


def put_pair(issued: Issued, folder: Path, how: str = "renamed", name: str = "server") -> None:
    """Let ``issued`` be the pair called ``name`` that the configuration names."""
    put(folder / f"{name}.pem", issued.certificate, how)
    put(folder / f"{name}.key", issued.key, how)


@contextmanager
def only(proxy: Proxy, worker: int) -> Iterator[None]:
    """Let one worker alone accept connections: the others do not run during the block."""
    with ExitStack() as stack:
        for other in children(proxy.server.process.pid):
            if other != worker:
                os.kill(other, signal.SIGSTOP)
                stack.callback(os.kill, other, signal.SIGCONT)
        yield


def handshake(proxy: Proxy, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> ssl.SSLSocket:
    """Return a connection to the proxy after its handshake."""
    plain = socket.create_connection(("127.0.0.1", proxy.port), timeout=SECONDS)
    try:
        return context.wrap_socket(plain, server_hostname="127.0.0.1", session=session)
    except BaseException:
        plain.close()
        raise


def shown(proxy: Proxy, authority: Authority) -> str:
    """The name in the certificate that a new connection is shown."""
    with handshake(proxy, ssl.create_default_context(cafile=authority.ca)) as connection:
        return name_in(connection.getpeercert())


def name_in(certificate: object) -> str:
    """The common name of a certificate's subject."""
    assert isinstance(certificate, dict)
    pairs: dict[str, str] = dict(pair for part in certificate["subject"] for pair in part)
    return pairs["commonName"]


def client(server: Authority, issued: Issued) -> ssl.SSLContext:
    """A client that trusts ``server`` and shows ``issued``."""
    context = ssl.create_default_context(cafile=server.ca)
    context.load_cert_chain(issued.certificate, issued.key)
    return context


def is_let_in(proxy: Proxy, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> bool:
    """Whether a client gets an answer. A refused one sees that when it reads (TLS 1.3)."""
    try:
        with handshake(proxy, context, session) as connection:
            connection.sendall(REQUEST)
            return connection.recv(64).startswith(b"HTTP/1.1 ")
    except (ssl.SSLError, ConnectionError):
        return False


class TlsServer:
    """An https server that demands client certificates and answers 200 to every request.

    ``names`` are the names in the client certificates, one for each request; ``refused`` counts handshakes
    that failed.
    """

    def __init__(self, issued: Issued, client_ca: Path) -> None:
        self.names: list[str] = []
        self.refused = 0
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(issued.certificate, issued.key)
        self._context.load_verify_locations(client_ca)
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept)]
        self._connections: list[socket.socket] = []
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> "TlsServer":
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._listener.close()
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads[1:]:
            thread.join()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                plain, _ = self._listener.accept()
                self._connections.append(plain)
                self._threads.append(threading.Thread(target=self._serve, args=(plain,)))
                self._threads[-1].start()

    def _serve(self, plain: socket.socket) -> None:
        try:
            connection = self._context.wrap_socket(plain, server_side=True)
        except OSError:
            self.refused += 1
            plain.close()
            return
        self._connections.append(connection)
        with connection, suppress(OSError):
            octets = b""
            while more := connection.recv(65536):
                octets += more
                while b"\r\n\r\n" in octets:
                    _, _, octets = octets.partition(b"\r\n\r\n")
                    self.names.append(name_in(connection.getpeercert()))
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
