"""Replicas that borrow from one Redis: a limit is one limit, while replicas and servers die under load."""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from metaproxy.demo.world import ALICE
from tests.e2e import deployment
from tests.e2e.burst import Outcome, burst
from tests.e2e.deployment import METADATA, ROUTE, Proxy
from tests.redis_sentinel import RedisBehindSentinel
from tests.redis_server import RedisServer

pytestmark = [pytest.mark.e2e, pytest.mark.redis]

REPLICAS = 3
CONNECTIONS = 8
LIMIT = 2000
LEASED = {
    "algorithm": "fixed-window",
    "sharing": "leased",
    "on_store_failure": "deny",
    "rates": [{"name": "reads", "path": ROUTE, "rate": f"{LIMIT}/day"}],
}
LIFE = 1.2
"""Seconds after which no slice is out: its life, an eighth for clocks, and its report."""


def replicas(folder: Path, compute: str, identity: str, store: str) -> AbstractContextManager[list[Proxy]]:
    """Run them until the end of the block."""
    sections: dict[str, Any] = {"limits": LEASED, "store": {"url": store, "timeout": "2s"}}
    return deployment.replicas(REPLICAS, folder, upstream=compute, identity=identity, sections=sections)


async def admitted(proxies: Sequence[Proxy], requests: int, connections: int = CONNECTIONS) -> int:
    """Send so many requests over each connection to each of ``proxies``; return how many were admitted."""
    return statuses(await ask(proxies, requests, connections)).count(200)


async def ask(proxies: Sequence[Proxy], requests: int, connections: int = CONNECTIONS) -> list[Outcome]:
    ports, token = [proxy.port for proxy in proxies], {"X-Auth-Token": ALICE.token}
    return await burst(ports, METADATA, token, connections=connections, requests=requests)


def statuses(outcomes: Sequence[Outcome]) -> list[int]:
    return [outcome.status for outcome in outcomes]


async def use_up(proxies: Sequence[Proxy]) -> int:
    """Ask until the limit is used up and every slice is back; return how many requests were admitted."""
    total = 0
    while True:
        await asyncio.sleep(LIFE)
        some = await admitted(proxies, requests=40)
        total += some
        if not some:
            return total


async def test_all_requests_of_a_limit_are_admitted_once_whichever_replica_they_reach(
    tmp_path: Path, compute: str, identity: str
) -> None:
    with RedisServer() as redis, replicas(tmp_path, compute, identity, redis.url) as proxies:
        assert await use_up(proxies) == LIMIT


async def test_a_replica_that_is_killed_costs_at_most_its_slices(
    tmp_path: Path, compute: str, identity: str
) -> None:
    with RedisServer() as redis, replicas(tmp_path, compute, identity, redis.url) as proxies:
        dead, *others = proxies
        total = await admitted([dead], requests=20, connections=4)
        asked = asyncio.ensure_future(ask(others, requests=40))
        dead.server.process.kill()  # with the slices that its last requests have left
        total += statuses(await asked).count(200)
        total += await use_up(others)
        assert LIMIT - LIMIT / 2 <= total <= LIMIT


async def test_a_redis_that_remembers_admits_no_more_when_it_is_killed_under_load(
    tmp_path: Path, compute: str, identity: str
) -> None:
    with RedisServer() as redis, replicas(tmp_path, compute, identity, redis.url) as proxies:
        with redis.client() as client:
            client.config_set("appendonly", "yes")
            client.config_set("appendfsync", "always")
            while client.info("persistence")["aof_rewrite_in_progress"]:
                await asyncio.sleep(0.01)
        asked = asyncio.ensure_future(ask(proxies, requests=40))
        await asyncio.sleep(0.1)
        redis.kill()
        total = statuses(await asked).count(200)
        redis.start(remembers=True)
        while 503 in (some := statuses(await ask(proxies, requests=1, connections=1))):
            total += some.count(200)
            await asyncio.sleep(0.05)
        total += some.count(200)
        total += await use_up(proxies)
        assert total <= LIMIT


async def test_a_failover_forgets_at_most_the_last_slices(
    tmp_path: Path, compute: str, identity: str
) -> None:
    with RedisBehindSentinel() as redis, replicas(tmp_path, compute, identity, redis.url) as proxies:
        with redis.primary.client() as client:  # one that has lost its replica takes no writes
            client.config_set("min-replicas-to-write", 1)
        former = redis.primary
        asked = asyncio.ensure_future(ask(proxies, requests=60))
        await asyncio.to_thread(redis.fail_over)
        total = statuses(await asked).count(200)
        while redis.primary is former:
            await asyncio.sleep(0.05)
        total += await use_up(proxies)
        assert total <= LIMIT + LIMIT / 8
