"""The user that config/DEPLOYING.md gives metaproxy, at each version of Redis that is here."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from metaproxy.identity.revocation import Revocation
from metaproxy.store.redis.slots import RedisSlots
from metaproxy.store.redis.values import RedisValues
from tests.redis_server import RedisServer, executables
from tests.unit.store.replica import LEASE_SECONDS, Replica, running

pytestmark = pytest.mark.redis

DEPLOYING = Path(__file__).parents[3] / "config" / "DEPLOYING.md"


@pytest.fixture(params=executables())
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RedisServer]:
    """A server that starts with the documented line in its ACL file."""
    documented = re.search(r"^`(on >PASSWORD .*)`$", DEPLOYING.read_text(), re.MULTILINE)
    assert documented is not None
    (tmp_path / "users.acl").write_text(f"user metaproxy {documented[1]}\n")
    with RedisServer(request.param, "--aclfile", str(tmp_path / "users.acl")) as server:
        yield server


async def test_all_that_replicas_do_is_permitted_and_nothing_else_is_tried(server: RedisServer) -> None:
    replica = Replica(server.url.replace("//", "//metaproxy:PASSWORD@"))
    slots = RedisSlots(replica.store)
    values = RedisValues(replica.store, "token", max_bytes=100)
    with capture_logs() as logs:
        async with running(replica):
            assert await replica.count()
            assert await replica.counters.reset("project:p") > 0
            await replica.cache.purge(("image:1",))
            await replica.revocations.revoke(Revocation.of_token("a token"))
            await replica.entries.put(b"k", b"v", await replica.entries.get(b"k", ["t"]), 60)
            assert (await replica.entries.get(b"k", ["t"])).content == b"v"
            assert await slots.enter("project:p", b"a", 1)
            await slots.renew({"project:p": [b"a"]})
            await slots.leave({"project:p": [b"a"]})
            await values.write("a", b"1", 100)
            assert (await values.read(["a"])).values == [b"1"]
            await values.remove(["a"])
            await asyncio.sleep(2 * LEASE_SECONDS)
    assert [line["event"] for line in logs] == ["tokens revoked"]
    with server.client() as client:
        assert client.acl_log() == []
