"""Replicas that share tokens, killed one after the other or cut off from Redis by a failover.

No revoked token is accepted, and a replica that starts asks Keystone about no token that another one knows.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.deployment import Proxy
from tests.filters.sharing_line import KEY, Keystone
from tests.redis_sentinel import RedisBehindSentinel
from tests.redis_server import RedisServer
from tests.unit.forward.scripted import OK, answers, upstream

pytestmark = [pytest.mark.e2e, pytest.mark.redis]

REPLICAS = 2
TOKENS = [f"token-{number}" for number in range(40)]
REVOKED, *VALID = TOKENS
HANG_SECONDS = 120


class Fleet:
    """Replicas in front of one Keystone, which counts its questions."""

    def __init__(self, keystone: Keystone, client: httpx.AsyncClient) -> None:
        self.keystone = keystone
        self.proxies: list[Proxy] = []
        self._client = client

    async def status(self, proxy: Proxy, token: str) -> int:
        response = await self._client.get(f"{proxy.url}/v2.1/p1/x", headers={"X-Auth-Token": token})
        return response.status_code

    async def statuses(self, proxy: Proxy, tokens: Sequence[str]) -> set[int]:
        return set(await asyncio.gather(*(self.status(proxy, token) for token in tokens)))

    async def questions(self, proxy: Proxy, tokens: Sequence[str]) -> int:
        """Send a request with each token, all of which are valid; return what Keystone was asked for them."""
        before = self.keystone.questions
        assert await self.statuses(proxy, tokens) == {200}
        return self.keystone.questions - before

    async def revoke(self, proxy: Proxy, token: str) -> None:
        """Revoke ``token``, again while the proxy says that the store takes no revocation."""
        async with asyncio.timeout(HANG_SECONDS):
            while (answer := await self._revoke(proxy, token)).status_code == 503:
                await asyncio.sleep(0.05)
        answer.raise_for_status()

    async def until_rejected(self, token: str) -> None:
        """Wait until every replica rejects ``token``."""
        async with asyncio.timeout(HANG_SECONDS):
            for proxy in self.proxies:
                while await self.status(proxy, token) != 401:
                    await asyncio.sleep(0.05)

    async def kill(self, proxy: Proxy) -> None:
        """End a replica by SIGKILL, and start another one in its place."""
        proxy.server.process.kill()
        proxy.server.wait()
        proxy.server = proxy.start_again()
        await asyncio.to_thread(proxy.until_ready)

    async def until_a_restart_asks_nothing(self, proxy: Proxy) -> None:
        """Kill ``proxy``, which has just started, until it knows all tokens from the others.

        A busy machine may lose touch with Redis, and asks once more then.
        """
        async with asyncio.timeout(HANG_SECONDS):
            while await self.questions(proxy, VALID):
                await self.kill(proxy)

    async def _revoke(self, proxy: Proxy, token: str) -> httpx.Response:
        return await self._client.post(f"{proxy.admin_url}/tokens/revoke", json={"token": token})


@asynccontextmanager
async def fleet(folder: Path, store: str) -> AsyncIterator[Fleet]:
    """Run replicas of which each was asked about every token."""
    keystone = Keystone()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(keystone.served())
        compute = await stack.enter_async_context(upstream(answers(OK)))
        client = await stack.enter_async_context(httpx.AsyncClient(trust_env=False, timeout=HANG_SECONDS))
        fleet = Fleet(keystone, client)
        identity: dict[str, Any] = {
            "url": f"{keystone.origin}/v3",
            "cache": {"ttl": "1h", "jitter": 0},
            "guesses": {"rate": None},
            "shared_tokens": {"keys": [KEY]},
        }
        sections = {"identity": identity, "store": {"url": store, "timeout": "2s"}}
        for number in range(REPLICAS):
            proxy = Proxy(
                folder / str(number), upstream=compute.origin, identity=keystone.origin, sections=sections
            )
            stack.callback(lambda proxy: proxy.server.stop(), proxy)
            fleet.proxies.append(proxy)
        for proxy in fleet.proxies:
            await asyncio.to_thread(proxy.until_ready)
            await fleet.statuses(proxy, TOKENS)
        yield fleet


async def test_a_replica_that_was_killed_asks_about_no_token_and_accepts_none_that_was_revoked(
    tmp_path: Path,
) -> None:
    with RedisServer() as redis:
        async with fleet(tmp_path, redis.url) as replicas:
            here, there = replicas.proxies
            there.server.process.kill()
            await replicas.revoke(here, REVOKED)
            for proxy in (there, here):  # the second one was the only one that knew the revocation
                await replicas.kill(proxy)
                assert await replicas.status(proxy, REVOKED) == 401
                await replicas.until_a_restart_asks_nothing(proxy)


async def test_after_a_failover_no_revoked_token_is_accepted_and_the_others_are_shared_again(
    tmp_path: Path,
) -> None:
    with RedisBehindSentinel() as redis:
        async with fleet(tmp_path, redis.url) as replicas:
            here, there = replicas.proxies
            await replicas.revoke(here, REVOKED)
            await replicas.until_rejected(REVOKED)
            former = redis.primary
            await asyncio.to_thread(redis.fail_over)
            async with asyncio.timeout(HANG_SECONDS):
                while redis.primary is former:
                    assert await replicas.statuses(here, VALID) == {200}
                    assert {await replicas.status(proxy, REVOKED) for proxy in (here, there)} == {401}
            await replicas.kill(there)
            assert await replicas.status(there, REVOKED) == 401
            await replicas.until_a_restart_asks_nothing(there)
            assert await replicas.status(there, REVOKED) == 401
