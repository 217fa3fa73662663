"""Sends and fetches bodies of 64 MiB through a server, as fast as it takes and gives them."""

import http.client
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.bench import population
from tests.bench.load import Sample
from tests.bench.machine import BenchError
from tests.bench.rounds import Contestant
from tests.bench.servers import Server
from tests.bench.upstream import FILE_BYTES

PIECE = memoryview(bytes(256 * 1024))
HEADERS = {"X-Auth-Token": population.caller(0).token, "Content-Type": "application/octet-stream"}

Transfer = Callable[[http.client.HTTPConnection], None]


def upload(connection: http.client.HTTPConnection) -> None:
    """Send a body of FILE_BYTES; BenchError where the answer is not 200."""
    connection.putrequest("PUT", population.file_target())
    for name, value in {**HEADERS, "Content-Length": str(FILE_BYTES)}.items():
        connection.putheader(name, value)
    connection.endheaders()
    for _ in range(FILE_BYTES // len(PIECE)):
        connection.sock.sendall(PIECE)
    response = connection.getresponse()
    _expect(response.status == 200, f"the upload was answered {response.status}: {response.read()[:200]!r}")
    response.read()


def download(connection: http.client.HTTPConnection) -> None:
    """Fetch a body of FILE_BYTES; BenchError where it is another."""
    connection.request("GET", population.file_target(), headers=HEADERS)
    response = connection.getresponse()
    buffer, received = bytearray(len(PIECE)), 0
    while count := response.readinto(buffer):
        received += count
    _expect(response.status == 200, f"the download was answered {response.status}")
    _expect(received == FILE_BYTES, f"{received} of {FILE_BYTES} bytes came")


def transfer_contestant(label: str, server: Server, transfer: Transfer) -> Contestant:
    """Return a contestant that repeats ``transfer`` over one connection; its samples count MiB."""

    def prepare() -> None:
        with _connection(server) as connection:
            transfer(connection)

    def measure(seconds: int) -> Sample:
        with _connection(server) as connection:
            return _repeat(transfer, connection, seconds)

    return Contestant(label, server, prepare, measure)


def _repeat(transfer: Transfer, connection: http.client.HTTPConnection, seconds: int) -> Sample:
    started, repetitions, elapsed = time.perf_counter(), 0, 0.0
    while elapsed < seconds:
        transfer(connection)
        repetitions += 1
        elapsed = time.perf_counter() - started
    return Sample(repetitions * FILE_BYTES / 2**20, elapsed)


@contextmanager
def _connection(server: Server) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.connect()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        yield connection
    finally:
        connection.close()


def _expect(condition: bool, otherwise: str) -> None:
    if not condition:
        raise BenchError(otherwise)
