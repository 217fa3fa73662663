"""Measures what crowds of slow and greedy clients make one process hold: ``python -m tests.bench.crowds``.

A crowd is, by default, 1 000 connections that all do the same, for eight seconds:

    pipeline-hits    pipeline reads of a stored answer of 20 kB, and never read
    pipeline-passes  pipeline reads that are passed on, and never read
    drip-heads       send a head, an octet each half second
    drip-bodies      send a body, an octet each half second
    transfers        one connection sends 300 MB while another fetches 300 MB

Each crowd meets a process of its own, with the defaults and one worker. Printed: the resident memory before,
at its peak, per connection, and after the crowd has gone; how many of its connections were left at the end;
and how many reads of a stored answer were answered beside it, and in which time: an honest client, in a
process of its own, sends one after the other while the crowd is there. Exit 1 if a peak is over its bound.
"""

import argparse
import asyncio
import contextlib
import resource
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.bench import machine
from tests.e2e.processes import ServerProcess, accepts
from tests.ports import HeldPorts

TOKEN = "f064c46a782c444cb4ba4b6434288f7c"
ROUTE = "/v2.1/{tenant_id}/images/{image_id}/metadata/{key}"
ITEM = "/v2.1/p/images/i/metadata/k"
SERVER = "/v2.1/p/servers/s"
FILE = "/v2.1/p/files/large"
BODY = b'{"meta": {"k": "' + b"v" * 20_000 + b'"}}'
TRANSFER_BYTES = 300_000_000
PIECE = bytes(1 << 18)
SECONDS = 8.0
DRIP_SECONDS = 0.5
READ_EACH_SECONDS = 0.02
PATIENCE_SECONDS = 120.0
MIB = 1 << 20


@dataclass(frozen=True)
class Found:
    """What one crowd made the process hold, in bytes."""

    before: int
    peak: int
    after: int
    connections: int
    """How many were open at the end."""
    beside: list[float]
    """The seconds that each read of a stored answer took while the crowd was there, in order of size."""


@dataclass
class Stand:
    """A proxy of its own, and the crowd's size."""

    port: int
    pid: int
    clients: int

    def connect(self, *, receive_buffer: int = 0) -> socket.socket:
        """Return a connection that blocks nothing."""
        client = socket.socket()
        if receive_buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.connect(("127.0.0.1", self.port))
        client.setblocking(False)
        return client


Crowd = Callable[[Stand], Awaitable[list[socket.socket]]]


def head(method: str, path: str, *fields: str) -> bytes:
    """Return a request's head."""
    lines = [f"{method} {path} HTTP/1.1", "Host: api", f"X-Auth-Token: {TOKEN}", *fields, "", ""]
    return "\r\n".join(lines).encode()


def pipelines(path: str) -> Crowd:
    """Return a crowd that sends reads of ``path`` as fast as they are taken, and reads nothing."""
    octets = head("GET", path) * 20
    return _crowd(b"", lambda _turn: octets, pause=0.1, receive_buffer=4096)


def drips(first: bytes, then: bytes) -> Crowd:
    """Return a crowd that sends ``first``, and then an octet of ``then`` in each turn."""
    return _crowd(first, lambda turn: then[turn : turn + 1], pause=DRIP_SECONDS)


def _crowd(first: bytes, octets: Callable[[int], bytes], *, pause: float, receive_buffer: int = 0) -> Crowd:
    async def crowd(stand: Stand) -> list[socket.socket]:
        clients = [stand.connect(receive_buffer=receive_buffer) for _ in range(stand.clients)]
        unsent = dict.fromkeys(clients, first)
        for turn in range(int(SECONDS / pause)):
            for client in clients:
                octets_left = unsent[client] or octets(turn)
                with contextlib.suppress(OSError):  # full, or closed by the proxy
                    unsent[client] = octets_left[client.send(octets_left) :]
            await asyncio.sleep(pause)
        return clients

    return crowd


async def transfers(stand: Stand) -> list[socket.socket]:
    """Send and fetch TRANSFER_BYTES at once."""

    async def up() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", stand.port)
        writer.write(head("PUT", FILE, f"Content-Length: {TRANSFER_BYTES}", "Connection: close"))
        left = TRANSFER_BYTES
        while left:
            piece = PIECE[: min(left, len(PIECE))]
            writer.write(piece)
            await writer.drain()
            left -= len(piece)
        if not (await reader.read()).startswith(b"HTTP/1.1 200"):
            raise machine.BenchError("the upload was not answered 200")
        writer.close()

    async def down() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", stand.port)
        writer.write(head("GET", FILE, "Connection: close"))
        await reader.readuntil(b"\r\n\r\n")
        fetched = 0
        while piece := await reader.read(len(PIECE)):
            fetched += len(piece)
        if fetched != TRANSFER_BYTES:
            raise machine.BenchError(f"{fetched} of {TRANSFER_BYTES} bytes came")
        writer.close()

    await asyncio.gather(up(), down())
    return []


CROWDS: dict[str, tuple[Crowd, int]] = {
    "pipeline-hits": (pipelines(ITEM), 400 * MIB),
    "pipeline-passes": (pipelines(SERVER), 400 * MIB),
    "drip-heads": (drips(head("GET", ITEM)[:-2], b"X-Slow: " + b"a" * 100), 200 * MIB),
    "drip-bodies": (drips(head("PUT", SERVER, "Content-Length: 100000"), b"a" * 100), 200 * MIB),
    "transfers": (transfers, 200 * MIB),
}
"""Each crowd, and the most that the process may hold with the default number of clients."""


def main() -> int:
    """Measure, print, and return 1 if something was not as it must be."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.crowds", description=__doc__)
    parser.add_argument("--clients", type=int, default=1000, help="connections of a crowd (1000)")
    parser.add_argument("crowds", nargs="*", metavar="CROWD", help=f"of: {', '.join(CROWDS)} (all)")
    arguments = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    is_good = True
    print("crowd            before   peak     per connection   after    left   reads: median, p99, longest")
    for name in arguments.crowds or CROWDS:
        crowd, bound = CROWDS[name]
        found = asyncio.run(measure(crowd, arguments.clients))
        each = (found.peak - found.before) / arguments.clients / 1024
        print(
            f"{name:16} {found.before / MIB:5.0f} MiB {found.peak / MIB:5.0f} MiB {each:10.0f} KiB "
            f"{found.after / MIB:8.0f} MiB {found.connections:6} {len(found.beside):6} "
            f"{' '.join([f'{_share(found.beside, share):6.0f}' for share in (0.5, 0.99, 1)])} ms",
            flush=True,
        )
        is_good = is_good and found.peak <= bound
    return 0 if is_good else 1


async def measure(crowd: Crowd, clients: int) -> Found:
    """Let a crowd meet a proxy of its own."""
    async with upstream() as target, proxy(target) as stand:
        stand.clients = clients
        for path in (ITEM, ITEM, SERVER, SERVER):
            await _read(stand.port, path)
        before = machine.resident_bytes(stand.pid)
        machine.forget_peak(stand.pid)
        with ProcessPoolExecutor(1) as pool:
            beside = asyncio.get_running_loop().run_in_executor(pool, read_beside, stand.port)
            held = await crowd(stand)
            seconds = await beside
        is_open = [not _is_closed(client) for client in held]
        for client in held:
            client.close()
        await asyncio.sleep(2)
        peak, after = machine.resident_bytes(stand.pid, peak=True), machine.resident_bytes(stand.pid)
        return Found(before, peak, after, sum(is_open), seconds)


def _is_closed(client: socket.socket) -> bool:
    try:
        while client.recv(1 << 16):
            pass
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def read_beside(port: int) -> list[float]:
    """Read a stored answer again and again while a crowd is there; return the seconds of each, in order."""
    taken = []
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as client:
        end = time.monotonic() + SECONDS
        while (begun := time.monotonic()) < end:
            client.sendall(head("GET", ITEM))
            answer = b""
            while not answer.endswith(BODY):
                if not (octets := client.recv(1 << 16)):
                    raise machine.BenchError("the connection of the honest client was closed")
                answer += octets
            taken.append(time.monotonic() - begun)
            time.sleep(READ_EACH_SECONDS)
    return sorted(taken)


def _share(ordered: list[float], share: float) -> float:
    """Return the milliseconds within which this share of reads was answered."""
    return 1000 * ordered[min(int(len(ordered) * share), len(ordered) - 1)]


async def _read(port: int, path: str) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head("GET", path, "Connection: close"))
        answer = await reader.read()
        writer.close()
    if not answer.startswith(b"HTTP/1.1 200"):
        raise machine.BenchError(f"a read was answered {answer[:60]!r}")


@contextlib.asynccontextmanager
async def upstream() -> AsyncIterator[str]:
    """Serve bodies of 20 kB, and FILE in both directions."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                asked = await reader.readuntil(b"\r\n\r\n")
                if asked.startswith(b"PUT"):
                    length = next(line for line in asked.lower().split(b"\r\n") if b"content-length" in line)
                    left = int(length.partition(b":")[2])
                    while left:
                        left -= len(await reader.read(min(left, len(PIECE)))) or left
                is_large = asked.startswith(f"GET {FILE} ".encode())
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                    % (TRANSFER_BYTES if is_large else len(BODY))
                )
                left = TRANSFER_BYTES if is_large else 0
                while left:
                    piece = PIECE[: min(left, len(PIECE))]
                    writer.write(piece)
                    await writer.drain()
                    left -= len(piece)
                if not is_large:
                    writer.write(BODY)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 18)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@contextlib.asynccontextmanager
async def proxy(target: str) -> AsyncIterator[Stand]:
    """Run a proxy with the defaults in front of ``target``."""
    token = {"token": TOKEN, "user": {"id": "u"}, "project": {"id": "p"}}
    with tempfile.TemporaryDirectory(prefix="mp-") as name, HeldPorts() as port:
        folder = Path(name)
        configuration = folder / "metaproxy.yaml"
        configuration.write_text(
            yaml.safe_dump(
                {
                    "server": {"listen": f"127.0.0.1:{port.first}", "workers": 1},
                    "admin": {"listen": f"unix:{folder}/admin.sock"},
                    "upstream": {"targets": [target]},
                    "identity": {"provider": "static", "tokens": [token]},
                    "cache": {"routes": [{"path": ROUTE, "ttl": "1h"}]},
                    "logging": {"access": False},
                }
            )
        )
        server = ServerProcess(["metaproxy", "serve", "--config", str(configuration)], folder / "log")
        try:
            await asyncio.to_thread(server.until, lambda: accepts(port.first))
            yield Stand(port.first, server.process.pid, 0)
        finally:
            await asyncio.to_thread(server.stop)


if __name__ == "__main__":
    sys.exit(main())
