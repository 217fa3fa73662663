"""Four proxies, one Redis, one hot consumer: a limit is one limit, and what holds while Redis is away."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis

from metaproxy.demo.world import ALICE
from tests.e2e import deployment
from tests.e2e.burst import Outcome, burst
from tests.e2e.deployment import METADATA, ROUTE, Proxy
from tests.e2e.processes import wait_until
from tests.redis_server import RedisServer

pytestmark = [pytest.mark.e2e, pytest.mark.redis]

REPLICAS = 4
CONNECTIONS = 16
LIMIT = 400
BURST, RATE = 200, 5
REQUESTS = 20
OF_ALL = REQUESTS * CONNECTIONS * REPLICAS
STORE_TIMEOUT = 5.0
LONGEST_WAIT = REQUESTS * STORE_TIMEOUT / 2
"""Seconds that the requests of one connection may take together while Redis hangs.

The timeout is paid once, and once more where the processes themselves are late, as several of them on few
cores are. Were each request to wait by itself, it would be twice as much as this; were none to give up,
the burst would hang.
"""

FIXED_WINDOW = {
    "algorithm": "fixed-window",
    "rates": [{"name": "reads", "path": ROUTE, "rate": f"{LIMIT}/day"}],
}
GCRA = {
    "algorithm": "gcra",
    "rates": [{"name": "reads", "path": ROUTE, "rate": f"{RATE}/second", "burst": BURST}],
}


class Replicas:
    """Running proxies that share one Redis."""

    def __init__(self, redis: RedisServer, proxies: Sequence[Proxy]) -> None:
        self.redis = redis
        self._proxies = proxies

    async def ask(self, requests: int, *, connections: int = CONNECTIONS) -> list[Outcome]:
        """Send so many requests over so many connections to each replica, all at once."""
        ports = [proxy.port for proxy in self._proxies]
        token = {"X-Auth-Token": ALICE.token}
        return await burst(ports, METADATA, token, connections=connections, requests=requests)

    def until_store_is(self, state: str) -> None:
        """Wait until every replica says that the store is ``available``, or ``away`` for some reason."""
        wait_until(
            lambda: all(_store_state(proxy).startswith(state) for proxy in self._proxies),
            what=f"the store to be {state}",
        )

    def until_store_is_asked(self) -> None:
        """Wait until Redis has decided about some more requests."""
        with self.redis.client() as client:
            before = _scripts_run(client)
            wait_until(lambda: _scripts_run(client) >= before + 8 * REPLICAS, what="the store to be asked")


def _scripts_run(client: Redis) -> int:
    commands: dict[str, Any] = client.info("commandstats")
    return sum(commands.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("eval", "evalsha"))


def _store_state(proxy: Proxy) -> str:
    checks = httpx.get(f"{proxy.admin_url}/readyz", trust_env=False).json()["checks"]
    return str(checks["store"]["says"])


@contextmanager
def replicas(folder: Path, compute: str, identity: str, limits: dict[str, Any]) -> Iterator[Replicas]:
    """Run them until the end of the block."""
    with RedisServer() as redis:
        sections = {"limits": limits, "store": {"url": redis.url, "timeout": f"{STORE_TIMEOUT}s"}}
        with deployment.replicas(
            REPLICAS, folder, upstream=compute, identity=identity, sections=sections
        ) as proxies:
            yield Replicas(redis, proxies)


def longest_wait(outcomes: Sequence[Outcome]) -> float:
    """Return the seconds that the requests of the slowest connection took together."""
    seconds: defaultdict[tuple[int, int], float] = defaultdict(float)
    for outcome in outcomes:
        seconds[outcome.port, outcome.connection] += outcome.seconds
    return max(seconds.values())


def statuses(outcomes: Sequence[Outcome]) -> Counter[int]:
    return Counter(outcome.status for outcome in outcomes)


async def test_gcra_admits_no_more_than_burst_and_rate(tmp_path: Path, compute: str, identity: str) -> None:
    with replicas(tmp_path, compute, identity, GCRA) as line:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        outcomes = await line.ask(REQUESTS)
        most = BURST + RATE * (loop.time() - begun)
        assert set(statuses(outcomes)) == {200, 413}
        assert len(outcomes) == OF_ALL
        assert BURST <= statuses(outcomes)[200] <= most


@pytest.mark.parametrize("on_store_failure", ["local", "allow", "deny"])
async def test_a_limit_is_exact_and_the_operators_choice_holds_while_redis_is_away(
    tmp_path: Path, compute: str, identity: str, on_store_failure: str
) -> None:
    limits = {**FIXED_WINDOW, "on_store_failure": on_store_failure}
    with replicas(tmp_path, compute, identity, limits) as line:
        # Thousands at once, counted by all replicas together.
        assert statuses(await line.ask(REQUESTS)) == {
            200: LIMIT,
            413: OF_ALL - LIMIT,
        }

        # Redis hangs, then dies, in the middle of a burst: no connection pays the timeout twice.
        asked = asyncio.ensure_future(line.ask(REQUESTS))
        await asyncio.sleep(0.1)
        line.redis.freeze()
        in_the_middle = await asked
        assert longest_wait(in_the_middle) < LONGEST_WAIT
        line.redis.kill()

        await asyncio.to_thread(line.until_store_is, "away")
        away = statuses(await line.ask(30))
        match on_store_failure:
            case "local":
                # The shared limit was used up; each replica has granted the whole limit once, by itself.
                assert statuses(in_the_middle)[200] + away[200] == REPLICAS * LIMIT
                assert set(away) <= {200, 413}
            case "allow":
                assert set(away) == {200}
            case "deny":
                assert set(away) == {503}

        # It comes back, and has forgotten everything.
        line.redis.start()
        await asyncio.to_thread(line.until_store_is, "available")
        assert statuses(await line.ask(REQUESTS)) == {
            200: LIMIT,
            413: OF_ALL - LIMIT,
        }

        # It is killed with requests in flight, whose connections break: the same holds at once.
        asked = asyncio.ensure_future(line.ask(REQUESTS))
        await asyncio.to_thread(line.until_store_is_asked)
        line.redis.kill()
        in_flight = await asked
        assert longest_wait(in_flight) < LONGEST_WAIT
        match on_store_failure:
            case "local":  # each replica has granted its own share above
                assert set(statuses(in_flight)) == {413}
            case "allow":
                assert set(statuses(in_flight)) == {200, 413}
            case "deny":
                assert set(statuses(in_flight)) == {413, 503}
