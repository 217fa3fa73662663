"""Every connection and permission that the store needs: its loss is a trouble as soon as the process knows.

No request is sent in these tests: what fails is noticed by what goes on in the background.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest
from redis import Redis
from structlog.testing import capture_logs

from metaproxy.assembly.readiness import store_check
from tests.redis_server import RedisServer
from tests.unit.admin.operated import Operated, told
from tests.unit.assembly.configured import STATIC
from tests.unit.store.replica import LEASE_SECONDS, TOKENS, Replica, running
from tests.unit.store.waiting import until

pytestmark = pytest.mark.redis

SECONDS = 30
CACHE = "cache: {routes: [{path: '/v2.1/{tenant_id}/images/{image_id}/metadata', ttl: 60s}]}"


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
async def replica(redis: RedisServer) -> AsyncIterator[Replica]:
    async with running(replica := Replica(redis.url)):
        await replica.until_trusted()
        yield replica


def allow(client: Redis, *rules: str) -> None:
    """Change what every connection may do, those that are open as well."""
    client.execute_command(  # type: ignore[no-untyped-call] # redis-py is partly typed
        "ACL", "SETUSER", "default", *rules
    )


def end_connections(client: Redis) -> None:
    """Close every connection but the test's own."""
    for kind in ("normal", "pubsub"):
        client.execute_command(  # type: ignore[no-untyped-call] # redis-py is partly typed
            "CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes"
        )


HEARD = "messages of other replicas do not arrive (permission"
PERMISSIONS: list[tuple[Sequence[str], Sequence[str], str]] = [
    (["-del"], ["+del"], HEARD),
    (["-publish"], ["+publish"], HEARD),
    (["-subscribe"], ["+subscribe"], HEARD),
    (["resetchannels"], ["allchannels"], HEARD),
    (["resetkeys"], ["allkeys"], HEARD),
    (["-zrangebyscore"], ["+zrangebyscore"], "recorded revocations cannot be read (permission"),
]


@pytest.mark.parametrize(("refused", "allowed", "says"), PERMISSIONS, ids=lambda value: " ".join(value))
async def test_a_permission_that_is_taken_away_is_a_trouble_until_it_is_given_back(
    redis: RedisServer, replica: Replica, refused: Sequence[str], allowed: Sequence[str], says: str
) -> None:
    with redis.client() as client:
        allow(client, *refused)
        end_connections(client)
        await until(lambda: any(trouble.startswith(says) for trouble in replica.store.troubles), SECONDS)
        assert not store_check(replica.store).well

        allow(client, *allowed)
        await until(lambda: replica.store.available and replica.trusts_its_memory, SECONDS)


async def test_a_rotated_password_is_a_trouble_with_its_reason(redis: RedisServer, replica: Replica) -> None:
    with redis.client() as client:
        client.config_set("requirepass", "new")
        end_connections(client)
        await until(lambda: "(authentication" in store_check(replica.store).says, SECONDS)

        client.config_set("requirepass", "")
        await until(lambda: replica.store.available and replica.trusts_its_memory, SECONDS)


async def test_a_server_that_is_gone_is_a_trouble_although_no_request_asks_it(
    redis: RedisServer, replica: Replica
) -> None:
    redis.kill()
    await until(lambda: "(refused" in store_check(replica.store).says, SECONDS)

    redis.start()
    await until(lambda: replica.store.available and replica.trusts_its_memory, SECONDS)


async def test_a_revocation_that_cannot_be_recorded_is_a_trouble_until_it_is(
    redis: RedisServer, replica: Replica
) -> None:
    says = "revocations are not recorded (permission"
    with redis.client() as client:
        allow(client, "-zadd")
        await replica.revoke(TOKENS[3])
        await until(lambda: any(trouble.startswith(says) for trouble in replica.store.troubles), SECONDS)

        allow(client, "+zadd")
        await until(lambda: replica.store.available, SECONDS)
        assert client.zcard("metaproxy:revocations") == 2  # the mark, and the revocation


async def test_a_purge_that_is_refused_stays_a_trouble_until_the_store_deletes(
    redis: RedisServer, replica: Replica
) -> None:
    """A server that takes SET and refuses DEL is not restored by a SET."""
    with redis.client() as client:
        allow(client, "-del")
        with capture_logs() as logs:
            for _ in range(5):
                await replica.cache.purge(("image:1",))
                await asyncio.sleep(LEASE_SECONDS)
        events = [line["event"] for line in logs if line.get("use") == "entries"]
        assert events == ["shared store lost"]
        assert any(trouble.startswith("refuses entries (permission") for trouble in replica.store.troubles)

        allow(client, "+del")
        await until(lambda: replica.store.available and replica.trusts_its_memory, SECONDS)


async def test_the_operator_sees_a_cache_that_is_out_of_touch_everywhere(
    redis: RedisServer, tmp_path: Path
) -> None:
    service = Operated(tmp_path, STATIC, CACHE, f"store: {{url: '{redis.url}', timeout: 1s}}")
    application = service.application
    assert application.cache is not None
    inventory = application.cache.inventory
    await application.start()
    try:
        await until(lambda: inventory.statistics().in_touch, SECONDS)
        assert told(await service.get("/readyz"))["checks"]["store"]["well"]
        with redis.client() as client:
            allow(client, "-del")
        await until(lambda: not inventory.statistics().in_touch, SECONDS)

        ready = told(await service.get("/readyz"))
        assert (ready["status"], ready["degraded"]) == ("ready", ["upstream", "store"])
        assert "(permission" in ready["checks"]["store"]["says"]
        assert "the cache is out of touch" in ready["checks"]["store"]["says"]
        assert told(await service.get("/status"))["store"] == {"shared": True, "available": False}
        assert b'metaproxy_degraded{what="store"} 1.0' in (await service.get("/metrics")).body
    finally:
        await application.close()
