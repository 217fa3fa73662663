"""Both ends of a connection, byte for byte: a client that sends exact bytes, a scripted upstream."""

import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPResponse
from types import TracebackType
from typing import Self

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok"

INTERIM = b"HTTP/1.1 1"


@dataclass
class WireAnswer:
    """An answer as it came over the wire; header names and order as they were sent."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        """Every value of the header ``name``, in order."""
        return [value for key, value in self.headers if key.lower() == name.lower()]


class WireClient:
    """A connection to a server; a context manager that closes it."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=300)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def send(self, *lines: str, body: bytes = b"") -> None:
        """Send a request head of these lines, and ``body``."""
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + body)

    def answer(self, method: str = "GET") -> WireAnswer:
        """Read one answer whole."""
        response = self.start(method)
        return WireAnswer(response.status, response.getheaders(), response.read())

    def start(self, method: str = "GET") -> HTTPResponse:
        """Read the head of the final answer; its body can be read bit by bit."""
        # http.client takes every interim answer but 100 for the final one.
        while self.socket.recv(len(INTERIM), socket.MSG_PEEK) == INTERIM:
            self._read_head()
        response = HTTPResponse(self.socket, method=method)
        response.begin()
        return response

    def _read_head(self) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n") and (octet := self.socket.recv(1)):
            head += octet


class UpstreamConnection:
    """The upstream's end of one connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._socket.settimeout(300)
        self._buffer = b""

    def read_head(self) -> bytes:
        """Return one request's head with its empty line; b"" where the peer closed."""
        return self.read_until(b"\r\n\r\n")

    def read_until(self, mark: bytes) -> bytes:
        """Return the bytes up to and with ``mark``; b"" where the peer closed before it."""
        while mark not in self._buffer:
            received = self._socket.recv(65536)
            if not received:
                return b""
            self._buffer += received
        found, _, self._buffer = self._buffer.partition(mark)
        return found + mark

    def read_exactly(self, count: int) -> bytes:
        """Return ``count`` bytes."""
        while len(self._buffer) < count:
            self._buffer += self._socket.recv(65536)
        found, self._buffer = self._buffer[:count], self._buffer[count:]
        return found

    def send(self, *parts: bytes) -> None:
        """Send bytes."""
        self._socket.sendall(b"".join(parts))

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def shutdown(self) -> None:
        """Send no more, and let the peer know at once."""
        self._socket.shutdown(socket.SHUT_RDWR)

    def reset(self) -> None:
        """Close the connection with a reset."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()


Script = Callable[[UpstreamConnection, bytes], None]
"""Given the connection and a request's head, reads the body if it wants to, and answers."""


def always_ok(connection: UpstreamConnection, head: bytes) -> None:
    """Answer every request alike."""
    connection.send(OK)


class ScriptedUpstream:
    """An upstream that keeps the heads of requests and lets ``script`` answer; a context manager.

    ``GET /``, which the proxy asks to see whether it lives, is answered and not kept.
    """

    def __init__(self, script: Script = always_ok) -> None:
        self.script = script
        self.heads: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._connections: list[socket.socket] = []
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # shutdown, not close alone: it wakes the thread that waits in accept or recv.
        for open_socket in (self._listener, *self._connections):
            with suppress(OSError):
                open_socket.shutdown(socket.SHUT_RDWR)
            open_socket.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, accepted: socket.socket) -> None:
        connection = UpstreamConnection(accepted)
        with accepted, suppress(OSError):
            while head := connection.read_head():
                if head.startswith(b"GET / "):
                    connection.send(OK)
                    continue
                self.heads.append(head)
                self.script(connection, head)
