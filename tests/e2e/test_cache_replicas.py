"""Two replicas on one Redis, over real sockets: no read is answered with what a write has replaced.

The guarantee under test stands in ``metaproxy.cache.replicas``: a read that starts after a write has been
answered, through any replica, never gets an older value, whether Redis is there or not. While it is there,
moreover, no read gets an older value than one that ended before it began: together they are one register.
"""

import asyncio
import random
from collections.abc import Callable, Container, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from metaproxy.demo.world import ALICE
from tests.e2e.deployment import ITEM, Proxy
from tests.e2e.register import Register, running
from tests.redis_server import RedisServer

pytestmark = [pytest.mark.e2e, pytest.mark.redis]

WRITERS, READERS = 2, 4
WRITES = 25
LONGEST_DELAY = 0.01


Disturbance = Callable[[], Coroutine[None, None, None]]


@dataclass(frozen=True)
class Operation:
    """One request that was answered, with the version that it saw or made."""

    kind: str
    began: float
    ended: float
    version: int
    hit: bool


class History:
    """What clients have seen, in the order in which they had their answers."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []

    async def take(self, client: httpx.AsyncClient, kind: str) -> None:
        """Read or write once, and keep what came of it."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        if kind == "read":
            response = await client.get(ITEM)
        else:
            response = await client.put(ITEM, json={"meta": {"label": "new"}})
        assert response.status_code == 200, response.text
        version = int(response.json()["meta"]["label"])
        hit = "; hit" in response.headers["cache-status"]
        self.operations.append(Operation(kind, began, loop.time(), version, hit))

    def violations(self, kinds: Container[str]) -> list[tuple[Operation, Operation]]:
        """Return each read with an operation of ``kinds`` that ended before it began and was newer."""
        return [
            (earlier, read)
            for read in self.operations
            if read.kind == "read"
            for earlier in self.operations
            if earlier.kind in kinds and earlier.ended < read.began and earlier.version > read.version
        ]


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


async def in_touch(proxies: list[Proxy]) -> None:
    """Wait until every replica hears of the others' writes."""
    async with httpx.AsyncClient(trust_env=False, timeout=300) as client:
        for proxy in proxies:
            while "metaproxy_cache_in_touch 1.0" not in (await client.get(f"{proxy.admin_url}/metrics")).text:
                await asyncio.sleep(0.02)


async def race(proxies: list[Proxy], history: History, disturb: Disturbance) -> None:
    """Let writers and readers go at random replicas until the writers are done and memory has answered."""
    chance = random.Random(5)
    headers = {"X-Auth-Token": ALICE.token}
    clients = [
        httpx.AsyncClient(base_url=proxy.url, headers=headers, timeout=300, trust_env=False)
        for proxy in proxies
    ]
    done = asyncio.Event()

    async def write() -> None:
        for _ in range(WRITES):
            await history.take(chance.choice(clients), "write")
            await asyncio.sleep(chance.random() * 4 * LONGEST_DELAY)

    async def read() -> None:
        while not done.is_set():
            await history.take(chance.choice(clients), "read")

    readers = [asyncio.create_task(read()) for _ in range(READERS)]
    disturbing = asyncio.create_task(disturb())
    await asyncio.gather(*(write() for _ in range(WRITERS)))
    await disturbing
    async with asyncio.timeout(300):
        while not any(operation.hit for operation in history.operations):
            await asyncio.sleep(0.01)
    done.set()
    await asyncio.gather(*readers)
    for client in clients:
        await client.aclose()


async def play(
    redis: RedisServer, identity: str, folder: Path, disturb: Disturbance, history: History
) -> None:
    """Run two replicas through a race; AssertionError where a write was lost."""
    register = Register(longest_delay=LONGEST_DELAY, seed=5)
    async with running(register) as upstream:
        sections = {"store": {"url": redis.url, "timeout": "1s"}}
        proxies = [
            Proxy(folder / name, upstream=upstream, identity=identity, sections=sections)
            for name in ("one", "two")
        ]
        try:
            for proxy in proxies:
                proxy.until_ready()
            await in_touch(proxies)
            await race(proxies, history, disturb)
        finally:
            for proxy in proxies:
                proxy.server.stop()
    assert register.version == WRITERS * WRITES


async def undisturbed() -> None:
    """Nothing happens."""


async def test_two_replicas_are_one_register(redis: RedisServer, identity: str, tmp_path: Path) -> None:
    history = History()

    await play(redis, identity, tmp_path, undisturbed, history)

    assert history.violations({"read", "write"}) == []


async def test_no_answer_outlives_a_write_while_redis_goes_and_comes(
    redis: RedisServer, identity: str, tmp_path: Path
) -> None:
    history = History()

    async def kill_and_start() -> None:
        while len(history.operations) < 50:
            await asyncio.sleep(0.01)
        redis.kill()
        await asyncio.sleep(0.5)
        redis.start()

    await play(redis, identity, tmp_path, kill_and_start, history)

    assert history.violations({"write"}) == []
