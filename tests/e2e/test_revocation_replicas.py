"""Two replicas as processes, on one Redis behind a late link, with the default leases and timeouts."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from metaproxy.demo.world import ALICE, BOB
from metaproxy.identity.revocations import LEASES_IN_FORCE
from metaproxy.store.broadcast import LEASE_SECONDS
from tests.e2e.deployment import ITEM, Proxy, requests_seen
from tests.e2e.operating import rewrite
from tests.e2e.processes import accepts
from tests.forwarder import Forwarder
from tests.redis_server import RedisServer

pytestmark = [pytest.mark.e2e, pytest.mark.redis]


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@dataclass
class Pair:
    """Two running replicas; the second one's link to Redis can be cut."""

    here: Proxy
    there: Proxy
    link: Forwarder
    client: httpx.AsyncClient

    async def status(self, proxy: Proxy, token: str) -> int:
        """Return the status of a read."""
        response = await self.client.get(proxy.url + ITEM, headers={"X-Auth-Token": token})
        return response.status_code

    async def revoke(self, token: str) -> None:
        """Revoke ``token`` through the first replica, again while it says so: the store may be slow."""
        url = f"http://127.0.0.1:{self.here.admin_port}/tokens/revoke"
        async with asyncio.timeout(90):
            while (answer := await self.client.post(url, json={"token": token})).status_code == 503:
                await asyncio.sleep(0.05)
        answer.raise_for_status()

    async def until_rejected(self, proxy: Proxy, token: str) -> None:
        """Wait until ``proxy`` rejects ``token``."""
        async with asyncio.timeout(90):
            while await self.status(proxy, token) != 401:
                await asyncio.sleep(0.05)


@pytest.fixture
async def pair(redis: RedisServer, compute: str, identity: str, tmp_path: Path) -> AsyncIterator[Pair]:
    async with AsyncExitStack() as stack:
        links = [await stack.enter_async_context(Forwarder(redis.port, delay_seconds=0.01)) for _ in range(2)]
        proxies = [
            Proxy(tmp_path / name, upstream=compute, identity=identity, sections={"store": {"url": link.url}})
            for name, link in zip(("here", "there"), links, strict=True)
        ]
        for proxy in proxies:
            stack.push_async_callback(asyncio.to_thread, proxy.server.stop)
        client = await stack.enter_async_context(httpx.AsyncClient(trust_env=False, timeout=300))
        for proxy in proxies:
            await asyncio.to_thread(proxy.until_ready)
        pair = Pair(proxies[0], proxies[1], links[1], client)
        for proxy in proxies:
            assert await pair.status(proxy, ALICE.token) == 200
        yield pair


async def test_a_revocation_reaches_a_replica_whose_connection_died_silently(
    pair: Pair, identity: str
) -> None:
    assert await pair.status(pair.there, BOB.token) in {200, 403}
    pair.link.swallow_subscribers()
    before = requests_seen(identity)

    await pair.revoke(ALICE.token)

    await pair.until_rejected(pair.there, ALICE.token)
    assert await pair.status(pair.there, BOB.token) in {200, 403}
    assert requests_seen(identity) - before <= 2 * 2  # of the two tokens, each twice at most


async def test_a_revocation_outlives_a_reload_and_is_known_to_a_replica_that_starts_later(
    pair: Pair,
) -> None:
    await pair.revoke(ALICE.token)
    await pair.until_rejected(pair.there, ALICE.token)

    rewrite(pair.there, {"identity": {"timeout": "3s"}})
    url = f"http://127.0.0.1:{pair.there.admin_port}/reload"
    (await pair.client.post(url, json={})).raise_for_status()
    assert [await pair.status(pair.there, ALICE.token) for _ in range(3)] == [401] * 3

    await asyncio.to_thread(pair.there.server.stop)
    again = pair.there.start_again()
    try:
        await asyncio.to_thread(again.until, lambda: accepts(pair.there.port))
        assert [await pair.status(pair.there, ALICE.token) for _ in range(3)] == [401] * 3
    finally:
        await asyncio.to_thread(again.stop)


async def test_a_replica_that_stood_still_refuses_at_once_what_was_revoked_meanwhile(pair: Pair) -> None:
    assert [await pair.status(pair.there, ALICE.token) for _ in range(3)] == [
        200
    ] * 3  # its head is remembered
    process = pair.there.server.process
    os.kill(process.pid, signal.SIGSTOP)
    try:
        await pair.revoke(ALICE.token)
        await asyncio.sleep(LEASES_IN_FORCE * LEASE_SECONDS + 1)
        first = asyncio.ensure_future(pair.status(pair.there, ALICE.token))
        await asyncio.sleep(0.2)  # it is in the socket then, or comes a little later
    finally:
        os.kill(process.pid, signal.SIGCONT)

    assert [await first, *[await pair.status(pair.there, ALICE.token) for _ in range(3)]] == [401] * 4
