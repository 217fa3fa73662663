"""Shared values in a real Redis, and at servers that answer nonsense."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from metaproxy.exchange import Identity
from metaproxy.identity.cached import CachedValidator
from metaproxy.identity.revocation import RevocationMemory
from metaproxy.identity.sealing import Sealer
from metaproxy.identity.shared_tokens import MAX_BYTES, SharedTokens
from metaproxy.store.redis.connection import SharedStore
from metaproxy.store.redis.values import RedisValues
from tests.fake_redis import FakeRedis
from tests.identities import FakeIdentity
from tests.redis_server import RedisServer

pytestmark = pytest.mark.redis

DEPLOYING = Path(__file__).parents[3] / "config" / "DEPLOYING.md"
LIES = {
    "a word": b"+OK\r\n",
    "a number": b":1\r\n",
    "nothing": b"$-1\r\n",
    "no list": b"*-1\r\n",
    "an empty list": b"*0\r\n",
    "the time alone": b"*2\r\n$1\r\n1\r\n$1\r\n1\r\n",
    "too many values": b"*4\r\n$1\r\n1\r\n$1\r\n1\r\n$1\r\na\r\n$1\r\nb\r\n",
    "a list in a list": b"*3\r\n$1\r\n1\r\n$1\r\n1\r\n*1\r\n$1\r\na\r\n",
    "numbers": b"*3\r\n:1\r\n:1\r\n:1\r\n",
    "no time": b"*3\r\n$3\r\nnow\r\n$1\r\n1\r\n$0\r\n\r\n",
    "a time beyond all": b"*3\r\n$400\r\n" + b"9" * 400 + b"\r\n$1\r\n1\r\n$0\r\n\r\n",
    "an endless number": b"*3\r\n$9000\r\n" + b"9" * 9000 + b"\r\n$1\r\n1\r\n$0\r\n\r\n",
    "no protocol": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "an error": b"-ERR no\r\n",
    "a script that is unknown": b"-NOSCRIPT no\r\n",
    "a server that is full": b"-OOM command not allowed\r\n",
}


def values_at(url: str, max_bytes: int = 100) -> tuple[SharedStore, RedisValues]:
    store = SharedStore(url, timeout_seconds=2)
    return store, RedisValues(store, "token", max_bytes=max_bytes)


async def test_what_was_written_is_read_until_its_time_is_over_or_it_is_removed(
    redis_server: RedisServer,
) -> None:
    store, values = values_at(redis_server.url)

    await values.write("a", b"1", 100)
    await values.write("b", b"2", 0.0001)
    reading = await values.read(["a", "b", "c"])
    with redis_server.client() as client:
        milliseconds = client.pttl("metaproxy:token:a")
    await values.remove(["a", "c"])

    assert reading.values == [b"1", None, None]
    assert 0 < milliseconds <= 100_000
    assert (await values.read(["a"])).values == [None]
    await store.close()


async def test_a_reading_has_the_time_of_the_server(redis_server: RedisServer) -> None:
    store, values = values_at(redis_server.url)
    with redis_server.client() as client:
        before, reading, after = client.time(), await values.read(["a"]), client.time()

    assert before[0] + before[1] / 1e6 <= reading.time <= after[0] + after[1] / 1e6
    await store.close()


async def test_of_a_value_that_is_too_large_no_more_is_read_than_shows_it(redis_server: RedisServer) -> None:
    store, values = values_at(redis_server.url, max_bytes=100)
    with redis_server.client() as client:
        client.set("metaproxy:token:a", bytes(10_000_000))

    (value,) = (await values.read(["a"])).values

    assert value == bytes(101)
    await store.close()


async def test_a_key_of_another_type_counts_as_absent_and_harms_no_other(redis_server: RedisServer) -> None:
    store, values = values_at(redis_server.url)
    with redis_server.client() as client:
        client.hset("metaproxy:token:a", "x", "1")
        client.set("metaproxy:token:b", b"2")

    assert (await values.read(["a", "b"])).values == [None, b"2"]
    assert store.available
    await store.close()


@pytest.mark.parametrize(
    "refusing",
    [
        ("CONFIG", "SET", "maxmemory", "1"),
        ("CONFIG", "SET", "min-replicas-to-write", "1"),
        ("REPLICAOF", "127.0.0.1", "9"),
        ("ACL", "SETUSER", "default", "-zadd"),
    ],
    ids=lambda command: command[-1],
)
async def test_a_server_that_would_record_no_revocation_gives_no_value(
    redis_server: RedisServer, refusing: tuple[str, ...]
) -> None:
    store, values = values_at(redis_server.url)
    await values.write("a", b"1", 100)
    with redis_server.client() as client:
        client.execute_command(*refusing)

    with pytest.raises(ConnectionError):
        await values.read(["a"])
    await store.close()


async def test_a_reading_leaves_nothing_behind(redis_server: RedisServer) -> None:
    store, values = values_at(redis_server.url)

    await values.read(["a"])

    with redis_server.client() as client:
        assert client.dbsize() == 0
    await store.close()


@pytest.mark.parametrize("lie", LIES)
async def test_whatever_a_server_answers_identity_is_asked_and_the_request_goes_on(lie: str) -> None:
    async with FakeRedis() as server:
        server.raw["EVAL"] = LIES[lie]
        store, values = values_at(server.url, MAX_BYTES)
        revoked = RevocationMemory()
        shared = SharedTokens(values, Sealer([bytes(32)], b""), revoked=revoked, ttl=100, timeout=2)
        shared.trust(b"")
        validator = CachedValidator(FakeIdentity(), shared=shared, revoked=revoked)

        with capture_logs():
            verdict = await validator.resolve(b"alice")

        assert isinstance(verdict, Identity)
        await validator.close()
        await store.close()
