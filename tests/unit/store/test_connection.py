import asyncio
import itertools
import time

import pytest

from metaproxy.store.availability import FIRST_PROBE_SECONDS
from metaproxy.store.redis.connection import SharedStore
from metaproxy.store.unavailable import StoreUnavailable
from tests.ports import HeldPorts
from tests.redis_server import RedisServer
from tests.unit.store.waiting import until

pytestmark = pytest.mark.redis


async def ping(store: SharedStore) -> bool:
    return bool(await store.call(lambda client: client.ping()))


async def test_a_call_returns_what_the_store_answers(redis_server: RedisServer) -> None:
    store = SharedStore(redis_server.url, timeout_seconds=2)
    await store.start()
    assert await ping(store)
    await store.close()


async def test_keys_begin_with_the_prefix() -> None:
    store = SharedStore("redis://127.0.0.1:1/0", prefix="other:")
    assert store.key("rate", "x") == "other:rate:x"
    await store.close()


async def test_a_store_that_is_away_at_start_is_known_before_the_first_request() -> None:
    with HeldPorts() as nobody:
        store = SharedStore(f"redis://127.0.0.1:{nobody.first}/0", timeout_seconds=0.05)
        await store.start()
        assert not store.available
        await store.close()


async def test_a_frozen_store_costs_the_timeout_once_and_then_nothing(redis_server: RedisServer) -> None:
    store = SharedStore(redis_server.url, timeout_seconds=0.2)
    await ping(store)
    redis_server.freeze()
    begun = time.monotonic()
    with pytest.raises(StoreUnavailable):
        await ping(store)
    first = time.monotonic()
    for _ in range(1000):
        with pytest.raises(StoreUnavailable):
            await ping(store)
    assert first - begun >= 0.2
    assert time.monotonic() - first < 20  # were each to wait, it would be 200
    redis_server.thaw()
    await store.close()


async def test_a_killed_store_is_used_again_when_it_is_back(redis_server: RedisServer) -> None:
    store = SharedStore(redis_server.url, timeout_seconds=1)
    events: list[str] = []
    store.on_lost(lambda: events.append("lost"))
    store.on_restored(lambda: events.append("restored"))
    await ping(store)
    redis_server.kill()
    with pytest.raises(StoreUnavailable):
        await ping(store)
    redis_server.start()
    await until(lambda: store.available)
    assert await ping(store)
    assert events == ["lost", "restored"]
    await store.close()


async def test_no_connection_to_a_server_that_is_gone_is_used_again(redis_server: RedisServer) -> None:
    store = SharedStore(redis_server.url, timeout_seconds=1)
    await asyncio.gather(*(ping(store) for _ in range(20)))
    redis_server.kill()
    with pytest.raises(StoreUnavailable):
        await ping(store)
    redis_server.start()
    await until(lambda: store.available)
    assert all(await asyncio.gather(*(ping(store) for _ in range(20))))
    await store.close()


async def test_a_loop_that_stood_still_is_not_blamed_on_the_store(redis_server: RedisServer) -> None:
    store = SharedStore(redis_server.url, timeout_seconds=0.05)
    await ping(store)
    call = asyncio.ensure_future(ping(store))
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_soon(time.sleep, 0.15)
    assert await call
    assert store.available
    await store.close()


async def test_an_abandoned_call_leaves_the_store_usable(redis_server: RedisServer) -> None:
    store = SharedStore(redis_server.url, timeout_seconds=2)
    await ping(store)
    call = asyncio.ensure_future(store.call(lambda client: client.blpop(["nothing"], timeout=0)))
    await asyncio.sleep(0.01)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await ping(store)
    assert store.available
    await store.close()


async def test_an_error_of_the_server_makes_the_store_unavailable(redis_server: RedisServer) -> None:
    store = SharedStore(redis_server.url, timeout_seconds=2)
    with pytest.raises(StoreUnavailable):
        await store.call(lambda client: client.eval("return redis.error_reply('no')", 0))
    assert not store.available
    await until(lambda: store.available)
    await store.close()


async def test_a_store_that_answers_but_fails_is_tried_less_and_less_often(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        client.config_set("maxmemory", "1")
    store = SharedStore(redis_server.url, timeout_seconds=2)
    losses: list[float] = []
    store.on_lost(lambda: losses.append(time.monotonic()))
    while len(losses) < 4:
        with pytest.raises(StoreUnavailable):
            await store.ask("SET", "key", "value")
        await asyncio.sleep(0)
    pauses = [later - earlier for earlier, later in itertools.pairwise(losses)]
    assert all(pause >= FIRST_PROBE_SECONDS * 2**number for number, pause in enumerate(pauses))
    await store.close()


async def test_a_store_that_was_closed_stays_away(redis_server: RedisServer) -> None:
    store = SharedStore(redis_server.url, timeout_seconds=2)
    await store.start()
    await store.close()
    with pytest.raises(StoreUnavailable):
        await ping(store)


async def test_more_calls_at_once_than_there_are_connections_wait_for_one(redis_server: RedisServer) -> None:
    store = SharedStore(redis_server.url, timeout_seconds=5, max_connections=2)
    assert await asyncio.gather(*(ping(store) for _ in range(50))) == [True] * 50
    assert store.available
    await store.close()


async def test_calls_that_wait_for_a_connection_fail_at_once_when_the_store_is_lost(
    redis_server: RedisServer,
) -> None:
    store = SharedStore(redis_server.url, timeout_seconds=0.2, max_connections=2)
    await ping(store)
    redis_server.freeze()
    begun = time.monotonic()
    failed = await asyncio.gather(*(ping(store) for _ in range(200)), return_exceptions=True)
    assert all(isinstance(error, StoreUnavailable) for error in failed)
    assert time.monotonic() - begun < 10  # one after the other, two at a time, it would be twice that
    redis_server.thaw()
    await store.close()
