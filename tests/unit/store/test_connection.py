import asyncio
import time
from functools import partial

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from metaproxy.store.redis.connection import SharedStore, StoreUse
from metaproxy.store.unavailable import StoreUnavailable
from tests.fake_redis import FakeRedis
from tests.ports import HeldPorts
from tests.redis_server import RedisServer
from tests.unit.store.waiting import until

pytestmark = pytest.mark.redis


async def ping(use: StoreUse) -> bool:
    return bool(await use.call(lambda client: client.ping()))


async def test_a_call_returns_what_the_store_answers(redis_server: RedisServer) -> None:
    store = SharedStore(redis_server.url, timeout_seconds=2)
    use = store.use("test")
    await store.start()
    assert await ping(use)
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
    use = store.use("test")
    await ping(use)
    redis_server.freeze()
    begun = time.monotonic()
    with pytest.raises(StoreUnavailable):
        await ping(use)
    first = time.monotonic()
    for _ in range(1000):
        with pytest.raises(StoreUnavailable):
            await ping(use)
    assert first - begun >= 0.2
    assert time.monotonic() - first < 20  # were each to wait, it would be 200
    redis_server.thaw()
    await store.close()


async def test_a_killed_store_is_used_again_when_it_is_back(redis_server: RedisServer) -> None:
    store = SharedStore(redis_server.url, timeout_seconds=1)
    use = store.use("test")
    events: list[str] = []
    store.on_lost(lambda: events.append("lost"))
    store.on_restored(lambda: events.append("restored"))
    await ping(use)
    redis_server.kill()
    with pytest.raises(StoreUnavailable):
        await ping(use)
    redis_server.start()
    await until(lambda: store.available)
    assert await ping(use)
    assert events == ["lost", "restored"]
    await store.close()


async def test_no_connection_to_a_server_that_is_gone_is_used_again(redis_server: RedisServer) -> None:
    store = SharedStore(redis_server.url, timeout_seconds=20)
    use = store.use("test")
    await asyncio.gather(*(ping(use) for _ in range(20)))
    redis_server.kill()
    with pytest.raises(StoreUnavailable):
        await ping(use)
    redis_server.start()
    await until(lambda: store.available)
    assert all(await asyncio.gather(*(ping(use) for _ in range(20))))
    await store.close()


async def test_a_loop_that_stood_still_is_not_blamed_on_the_store(redis_server: RedisServer) -> None:
    store = SharedStore(redis_server.url, timeout_seconds=1)
    use = store.use("test")
    await ping(use)
    call = asyncio.ensure_future(ping(use))
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_soon(time.sleep, 2)
    assert await call
    assert store.available
    await store.close()


async def test_a_loop_that_stood_still_within_the_timeout_is_not_blamed_on_the_store() -> None:
    store = SharedStore("redis://127.0.0.1:9", timeout_seconds=0.8)

    async def connect(_: Redis) -> bool:
        due = time.monotonic() + 0.85
        time.sleep(0.6)
        while time.monotonic() < due:
            await asyncio.sleep(0.01)
        return True

    assert await store.use("test").call(connect)
    await store.close()


async def test_an_abandoned_call_leaves_the_store_usable(redis_server: RedisServer) -> None:
    store = SharedStore(redis_server.url, timeout_seconds=2)
    use = store.use("test")
    await ping(use)
    call = asyncio.ensure_future(use.call(lambda client: client.blpop(["nothing"], timeout=0)))
    await asyncio.sleep(0.01)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await ping(use)
    assert store.available
    await store.close()


async def test_a_use_that_the_server_refuses_is_away_and_the_others_are_not(
    redis_server: RedisServer,
) -> None:
    store = SharedStore(redis_server.url, timeout_seconds=2)
    use, other = store.use("test"), store.use("other")
    with pytest.raises(StoreUnavailable):
        await use.call(lambda client: client.eval("return redis.error_reply('no')", 0))
    assert (use.available, other.available) == (False, True)
    assert await ping(other)
    await store.close()


async def test_a_use_is_restored_when_what_failed_works_again_and_not_before(
    redis_server: RedisServer,
) -> None:
    with redis_server.client() as client:
        client.config_set("maxmemory", "1")
        store = SharedStore(redis_server.url, timeout_seconds=2)
        use = store.use("test")
        with capture_logs() as logs:
            with pytest.raises(StoreUnavailable):
                await use.ask("SET", "key", "value")
            while client.info("commandstats").get("cmdstat_set", {}).get("rejected_calls", 0) < 4:
                await asyncio.sleep(0.01)  # it is tried, and fails
            assert not use.available
            client.config_set("maxmemory", "0")
            await until(lambda: use.available)
    assert await use.ask("SET", "key", "value") == b"OK"
    assert [(line["event"], line["use"]) for line in logs] == [
        ("shared store lost", "test"),
        ("shared store restored", "test"),
    ]
    await store.close()


@pytest.mark.parametrize("asks", [True, False], ids=["pipe", "pool"])
@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("READONLY You can't write against a read only replica.", "read_only"),
        ("OOM command not allowed when used memory > 'maxmemory'.", "out_of_memory"),
        ("NOPERM this user has no permissions to run the 'evalsha' command", "permission"),
        ("LOADING Redis is loading the dataset in memory", "loading"),
        ("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", "no_master"),
        ("WRONGPASS invalid username-password pair or user is disabled.", "authentication"),
        ("CROSSSLOT Keys in request don't hash to the same slot", "cross_slot"),
        ("NOREPLICAS Not enough good replicas to write.", "no_replicas"),
    ],
)
async def test_the_reply_of_a_server_that_refuses_is_logged_once_with_its_cause(
    reply: str, reason: str, *, asks: bool
) -> None:
    async with FakeRedis() as server:
        server.replies["SET"] = reply
        store = SharedStore(server.url, timeout_seconds=2)
        use = store.use("test")
        with capture_logs() as logs:
            for _ in range(3):
                with pytest.raises(StoreUnavailable):
                    await (use.ask("SET", "k", "v") if asks else use.call(lambda c: c.set("k", "v")))
            await server.until_asked("SET", 3)
        await store.close()
    (event,) = logs
    assert (event["event"], event["reason"]) == ("shared store lost", reason)
    address = server.url.removeprefix("redis://").removesuffix("/0")
    assert event["detail"].removeprefix(f"the server at {address}: ") in reply


async def test_an_error_reply_closes_the_connections(redis_server: RedisServer) -> None:
    store = SharedStore(redis_server.url, timeout_seconds=2)
    use = store.use("test")
    before = {await use.ask("CLIENT", "ID"), await use.call(lambda client: client.client_id())}
    with pytest.raises(StoreUnavailable):
        await use.ask("INCR", "key", "nonsense", again=partial(use.attempt_to_ask, "PING"))
    await until(lambda: use.available)
    after = {await use.ask("CLIENT", "ID"), await use.call(lambda client: client.client_id())}
    assert before.isdisjoint(after)
    await store.close()


async def test_a_store_that_was_closed_stays_away(redis_server: RedisServer) -> None:
    store = SharedStore(redis_server.url, timeout_seconds=2)
    use = store.use("test")
    await store.start()
    await store.close()
    with pytest.raises(StoreUnavailable):
        await ping(use)


async def test_more_calls_at_once_than_there_are_connections_wait_for_one(redis_server: RedisServer) -> None:
    store = SharedStore(redis_server.url, timeout_seconds=5, max_connections=2)
    use = store.use("test")
    assert await asyncio.gather(*(ping(use) for _ in range(50))) == [True] * 50
    assert store.available
    await store.close()


async def test_calls_that_wait_for_a_connection_fail_at_once_when_the_store_is_lost(
    redis_server: RedisServer,
) -> None:
    store = SharedStore(redis_server.url, timeout_seconds=0.2, max_connections=2)
    use = store.use("test")
    await ping(use)
    redis_server.freeze()
    begun = time.monotonic()
    failed = await asyncio.gather(*(ping(use) for _ in range(200)), return_exceptions=True)
    assert all(isinstance(error, StoreUnavailable) for error in failed)
    assert time.monotonic() - begun < 10  # one after the other, two at a time, it would be twice that
    redis_server.thaw()
    await store.close()
