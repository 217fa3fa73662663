"""Times one rate check beside the package ``limits``: ``python -m tests.bench.limits``.

Both sides check one rule of a large limit for one of ``CONSUMERS`` consumers. "The whole stage" is what a
request pays: finding its rules, the consumer and the key, the check, the RateLimit fields. Contestants
take turns in rounds, and the median counts, so that what else the machine does hits all alike. Over Redis
there is a row for one request at a time (the latency) and one for a hundred at once (the throughput).
"""

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from statistics import median
from typing import Any

import uvloop
from limits import RateLimitItemPerMinute, strategies
from limits.aio.storage import RedisStorage
from limits.aio.strategies import FixedWindowRateLimiter
from limits.storage import MemoryStorage

from metaproxy.exchange import Exchange, Identity
from metaproxy.filters.limit import RateLimit
from metaproxy.filters.rates import Rates
from metaproxy.protocol.limits.rates import RateRule
from metaproxy.protocol.limits.table import CompiledRule
from metaproxy.settings.units import Rate
from metaproxy.store.counters import Charge
from metaproxy.store.memory import MemoryCounters
from metaproxy.store.redis.connection import SharedStore
from metaproxy.store.redis.counters import RedisCounters
from tests.asgi_driver import make_scope
from tests.redis_server import RedisServer

CONSUMERS = 1000
LIMIT = 1_000_000
AT_ONCE = 100

Check = Callable[[str], Any]
AsyncCheck = Callable[[str], Awaitable[Any]]


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.limits")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--checks", type=int, default=20_000, help="a round, in memory; a tenth over Redis")
    arguments = parser.parse_args()
    print(f"{'microseconds a check':46}{'median':>10}")
    _print(_in_memory(arguments.rounds, arguments.checks))
    with RedisServer() as server:
        _print(uvloop.run(_over_redis(server.url, arguments.rounds, arguments.checks // 10)))


def _print(rows: dict[str, list[float]]) -> None:
    for name, seconds in rows.items():
        print(f"{name:46}{median(seconds) * 1e6:10.2f}")


def _in_memory(rounds: int, checks: int) -> dict[str, list[float]]:
    contestants = dict(_memory_contestants())
    consumers = [f"p{number % CONSUMERS}" for number in range(checks)]
    rows: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, check in contestants.items():
            begun = time.perf_counter()
            for consumer in consumers:
                check(consumer)
            rows[name].append((time.perf_counter() - begun) / checks)
    return rows


def _memory_contestants() -> Iterator[tuple[str, Check]]:
    for algorithm in ("gcra", "fixed-window"):
        yield f"in memory: {algorithm}", _counter(algorithm)
        yield f"in memory: {algorithm}, the whole stage", _stage(algorithm)
    item = RateLimitItemPerMinute(LIMIT)
    for strategy in (strategies.FixedWindowRateLimiter, strategies.SlidingWindowCounterRateLimiter):
        yield f"in memory: limits {strategy.__name__}", partial(strategy(MemoryStorage()).hit, item)


def _rule() -> RateRule:
    return RateRule(name="reads", rate=Rate(LIMIT, "minute"), path="/v2.1/images/{image_id}/metadata/**")


def _counter(algorithm: str) -> Check:
    counters, rule = MemoryCounters(), CompiledRule(_rule(), algorithm)
    return lambda consumer: counters.take((Charge(f"{rule.key}/project:{consumer}", consumer, rule),))


def _stage(algorithm: str) -> Check:
    async def unreached(scope: Any, receive: Any, send: Any) -> None:
        raise NotImplementedError

    stage = RateLimit(unreached, rates=Rates([_rule()], algorithm=algorithm))
    scope = make_scope("GET", "/v2.1/images/5b7c7a56-1d2c-4a0e-9d4b-2c1b7b4c8d11/metadata/label")
    identities = {f"p{number}": Identity(project_id=f"p{number}") for number in range(CONSUMERS)}
    return lambda consumer: stage.decide(Exchange("req-1", 0.0, identity=identities[consumer]), scope)


async def _over_redis(url: str, rounds: int, checks: int) -> dict[str, list[float]]:
    store = SharedStore(url, timeout_seconds=5)
    await store.start()
    contestants = {
        f"over Redis: {algorithm}": _shared(store, algorithm) for algorithm in ("gcra", "fixed-window")
    }
    contestants |= _limits_over_redis(url)
    rows: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, check in contestants.items():
            for at_once in (1, AT_ONCE):
                seconds = await _timed(check, checks, at_once)
                rows.setdefault(f"{name}, {at_once} at once", []).append(seconds)
    await store.close()
    return rows


def _shared(store: SharedStore, algorithm: str) -> AsyncCheck:
    counters, rule = RedisCounters(store, algorithm=algorithm), CompiledRule(_rule(), algorithm)
    return lambda consumer: counters.take((Charge(f"{rule.key}/project:{consumer}", consumer, rule),))


def _limits_over_redis(url: str) -> dict[str, AsyncCheck]:
    limiter = FixedWindowRateLimiter(RedisStorage(f"async+{url}", implementation="redispy"))
    item = RateLimitItemPerMinute(LIMIT)
    return {"over Redis: limits FixedWindowRateLimiter": lambda consumer: limiter.hit(item, consumer)}


async def _timed(check: AsyncCheck, checks: int, at_once: int) -> float:
    consumers = (f"p{number % CONSUMERS}" for number in range(checks))

    async def one_after_the_other() -> None:
        for consumer in consumers:
            await check(consumer)

    begun = time.perf_counter()
    await asyncio.gather(*(one_after_the_other() for _ in range(at_once)))
    return (time.perf_counter() - begun) / checks


if __name__ == "__main__":
    main()
