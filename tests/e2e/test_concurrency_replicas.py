"""Three proxies, one Redis: what one consumer may run at once is one number, whatever ends or dies."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import (
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
    suppress,
)
from pathlib import Path
from typing import Any

import httpx
import pytest

from metaproxy.demo.world import ALICE
from metaproxy.store.running import LEASE_SECONDS
from tests.e2e import deployment
from tests.e2e.deployment import RED_API, Proxy
from tests.e2e.processes import wait_until
from tests.redis_server import RedisServer

pytestmark = [pytest.mark.e2e, pytest.mark.redis]

MAXIMUM = 3
REPLICAS = 3
HANG_SECONDS = 120
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n"


class Origin:
    """An upstream that counts how many requests it works on at once. Those for ``/…/held`` wait."""

    def __init__(self) -> None:
        self.now = self.most = self.held = 0
        self.seconds = 0.01
        self.url = ""
        self.connections: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        self.connections.add(writer)
        with suppress(OSError, asyncio.IncompleteReadError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                await self._answer(head, reader, writer)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        self.connections.discard(writer)

    async def _answer(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if head.startswith(b"GET / "):  # is it alive?
            writer.write(HEAD + b"ok")
            return
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            if b"/held" in head:
                self.held += 1
                writer.write(HEAD + b"o")  # the rest comes when the client has gone
                await reader.read()
                raise ConnectionResetError
            await asyncio.sleep(self.seconds)
        finally:
            self.now -= 1
        writer.write(HEAD + b"ok")


@asynccontextmanager
async def counting_origin() -> AsyncIterator[Origin]:
    """Run an origin until the end of the block."""
    origin = Origin()
    server = await asyncio.start_server(origin.serve, "127.0.0.1", 0)
    origin.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield origin
        for connection in tuple(origin.connections):
            connection.close()
        async with asyncio.timeout(HANG_SECONDS):
            while origin.connections:
                await asyncio.sleep(0.01)


def replicas(
    folder: Path, redis: RedisServer, origin: str, identity: str, **limits: Any
) -> AbstractContextManager[Sequence[Proxy]]:
    """Run proxies that share ``redis`` until the end of the block."""
    concurrent = {"max": MAXIMUM, "shared": True}
    sections = {
        "limits": {"absolute": {"concurrent": concurrent}, **limits},
        "store": {"url": redis.url, "timeout": "2s"},
        "upstream": {"retries": 0},
    }
    return deployment.replicas(REPLICAS, folder, upstream=origin, identity=identity, sections=sections)


class Client:
    """One connection to a proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def get(self, path: str) -> int:
        """Send a request; return the status of the answer as soon as its head is there."""
        head = f"GET {RED_API}{path} HTTP/1.1\r\nHost: api\r\nX-Auth-Token: {ALICE.token}\r\n\r\n"
        self.writer.write(head.encode())
        async with asyncio.timeout(HANG_SECONDS):
            return int((await self._reader.readuntil(b"\r\n\r\n")).split()[1])

    async def read(self) -> bytes:
        """Read what there is of the body."""
        return await self._reader.read(65536)


@asynccontextmanager
async def connected(proxy: Proxy) -> AsyncIterator[Client]:
    """Connect to ``proxy`` until the end of the block."""
    client = Client(*await asyncio.open_connection("127.0.0.1", proxy.port))
    try:
        yield client
    finally:
        client.writer.close()
        with suppress(OSError):
            await client.writer.wait_closed()


async def read(proxy: Proxy) -> int:
    """Return the status of one short read."""
    async with connected(proxy) as client:
        status = await client.get("/servers/1")
        await client.read()
        return status


async def until_status(proxy: Proxy, status: int) -> None:
    """Read until the answer has ``status``."""
    async with asyncio.timeout(HANG_SECONDS):
        while await read(proxy) != status:
            await asyncio.sleep(0.05)


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


async def test_what_runs_long_keeps_its_slot_and_what_dies_gives_it_back(
    tmp_path: Path, redis: RedisServer, identity: str
) -> None:
    async with counting_origin() as origin:
        with replicas(tmp_path, redis, origin.url, identity) as proxies:
            async with AsyncExitStack() as clients:
                dies, stays, other = proxies
                for proxy in (dies, dies, stays):
                    client = await clients.enter_async_context(connected(proxy))
                    assert await client.get("/servers/held") == 200
                for proxy in (dies, stays, other, other, other):
                    assert await read(proxy) == 413

                dies.server.process.send_signal(signal.SIGKILL)
                await until_status(other, 200)  # when the lease of the dead one's slots is over

                # Of the three slots one is still held, by what has run for longer than a lease.
                await asyncio.sleep(LEASE_SECONDS)
                held = []
                for _ in range(2):
                    held.append(await clients.enter_async_context(connected(other)))
                    assert await held[-1].get("/servers/held") == 200
                assert await read(other) == 413
                assert await read(stays) == 413

                held[0].writer.close()  # a client that leaves frees its slot at once
                await until_status(stays, 200)
                assert origin.most <= MAXIMUM


async def test_under_load_never_more_run_than_allowed_and_no_slot_is_lost(
    tmp_path: Path, redis: RedisServer, identity: str
) -> None:
    statuses: Counter[int] = Counter()

    async def load(proxy: Proxy, requests: int) -> None:
        async with connected(proxy) as client:
            for _ in range(requests):
                statuses[await client.get("/servers/1")] += 1
                await client.read()

    async def all_at_once(proxies: Sequence[Proxy], requests: int) -> None:
        statuses.clear()
        await asyncio.gather(*(load(proxy, requests) for proxy in proxies for _ in range(4)))

    async with counting_origin() as origin:
        with replicas(tmp_path, redis, origin.url, identity) as proxies:
            await all_at_once(proxies, 30)
            assert origin.most == MAXIMUM
            assert set(statuses) == {200, 413}

            # Redis dies in the middle of it: each replica counts by itself.
            asked = asyncio.ensure_future(all_at_once(proxies, 60))
            await asyncio.sleep(0.1)
            redis.kill()
            await asked
            assert MAXIMUM <= origin.most <= MAXIMUM * REPLICAS
            assert set(statuses) == {200, 413}

            # It is back, and has forgotten everything: one number again.
            redis.start()
            for proxy in proxies:
                await asyncio.to_thread(_until_in_touch, proxy)
            origin.most = 0
            await all_at_once(proxies, 30)
            assert origin.most == MAXIMUM

        with redis.client() as client:  # they have ended, and left nothing behind
            await asyncio.to_thread(
                wait_until, lambda: not client.keys("metaproxy:running:*"), what="the slots to end"
            )


def _until_in_touch(proxy: Proxy) -> None:
    """Wait until ``proxy`` says that the store is there."""

    def is_available() -> bool:
        checks = httpx.get(f"{proxy.admin_url}/readyz", trust_env=False).json()["checks"]
        return str(checks["store"]["says"]).startswith("available")

    wait_until(is_available, what="the store to be available")
