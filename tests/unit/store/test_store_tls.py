"""The store over TLS, with a client certificate: redis-server behind an end of TLS of the test's own."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from metaproxy.store.redis.connection import SharedStore
from metaproxy.store.redis.counters import RedisCounters
from metaproxy.store.redis.opening import Opening
from tests.redis_sentinel import SERVICE, SentinelProcess
from tests.redis_server import RedisServer
from tests.unit.forward.certificates import Authority, Issued
from tests.unit.store.charges import charge

pytestmark = pytest.mark.redis


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def issued(authority: Authority) -> Issued:
    return authority.issue("store")


@pytest.fixture
async def port(redis_server: RedisServer, authority: Authority, issued: Issued) -> AsyncIterator[int]:
    """A port that speaks TLS to clients of the authority alone, and leads to the server."""
    async with tls_end(redis_server.port, authority, issued) as port:
        yield port


@asynccontextmanager
async def tls_end(to_port: int, authority: Authority, issued: Issued) -> AsyncIterator[int]:
    """Speak TLS to clients of ``authority`` on the port that is yielded, and lead to ``to_port``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.certificate, issued.key)
    context.load_verify_locations(authority.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    ways: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, there = await asyncio.open_connection("127.0.0.1", to_port)
        for source, target in ((reader, there), (back, writer)):
            ways.add(asyncio.ensure_future(_pass(source, target)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
    yield server.sockets[0].getsockname()[1]
    server.close()
    for way in ways:
        way.cancel()
    await asyncio.gather(*ways, return_exceptions=True)


async def _pass(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        while octets := await source.read(65536):
            target.write(octets)
            await target.drain()
    finally:
        target.close()


@pytest.mark.parametrize("one_pipe", [True, False])
async def test_both_ends_show_their_certificates(
    port: int, authority: Authority, issued: Issued, one_pipe: bool
) -> None:
    files = f"ssl_ca_certs={authority.ca}&ssl_certfile={issued.certificate}&ssl_keyfile={issued.key}"
    store = SharedStore(f"rediss://127.0.0.1:{port}/0?{files}", timeout_seconds=10, one_pipe=one_pipe)
    await store.start()
    assert store.troubles == []
    assert (await RedisCounters(store, algorithm="gcra").take([charge()])).admitted
    await store.close()


async def test_a_server_of_another_authority_is_not_trusted(port: int, issued: Issued) -> None:
    files = f"ssl_certfile={issued.certificate}&ssl_keyfile={issued.key}"
    store = SharedStore(f"rediss://127.0.0.1:{port}/0?{files}", timeout_seconds=10)
    await store.start()
    (trouble,) = store.troubles
    assert trouble.startswith("away (tls: ")
    await store.close()


async def test_sentinels_of_another_authority_are_not_trusted_and_named(
    redis_server: RedisServer, authority: Authority, issued: Issued
) -> None:
    sentinel = SentinelProcess(redis_server.port)
    sentinel.start()
    try:
        async with tls_end(sentinel.port, authority, issued) as port:
            store = SharedStore(f"rediss+sentinel://127.0.0.1:{port}/{SERVICE}", timeout_seconds=10)
            await store.start()
            (trouble,) = store.troubles
            assert trouble.startswith(f"away (tls: the sentinel at 127.0.0.1:{port}: ")
            await store.close()
    finally:
        sentinel.close()


async def test_all_connections_share_one_tls_context(authority: Authority) -> None:
    opening = Opening()
    contexts = set()
    for address in ("127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:2"):
        client = opening.client(f"rediss://{address}/0?ssl_ca_certs={authority.ca}")
        for _ in range(2):
            connection = client.connection_pool.make_connection()  # type: ignore[no-untyped-call] # redis-py's
            contexts.add(connection.ssl_context.get())
        await client.aclose()
    assert len(contexts) == 1
