"""Several processes behind one port, with what they share in a real Redis."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from metaproxy.demo.world import ALICE
from tests.e2e.deployment import ITEM, METADATA, ROUTE, Proxy, Sections, running_proxy
from tests.e2e.processes import descendants, gone, wait_until
from tests.redis_server import RedisServer

pytestmark = [pytest.mark.e2e, pytest.mark.redis]

RATE = {"name": "lists", "path": ROUTE, "methods": ["GET"], "per": ["project"], "rate": "4/hour", "burst": 4}


@pytest.fixture
def workers(tmp_path: Path, compute: str, identity: str) -> Iterator[Proxy]:
    with RedisServer() as redis:
        sections: Sections = {
            "server": {"workers": 2},
            # A machine that is busy with other tests may not answer within the usual 50 ms, and a store that
            # is away would let each worker count for itself.
            "store": {"url": redis.url, "timeout": "2s"},
            "limits": {"rates": [RATE]},
        }
        with running_proxy(tmp_path, upstream=compute, identity=identity, sections=sections) as proxy:
            yield proxy


def read(proxy: Proxy, path: str) -> int:
    """Read ``path`` over a connection of its own, so that any worker may get it."""
    with proxy.client(ALICE) as alice:
        return alice.get(path).status_code


def test_a_rate_is_one_for_all_workers(workers: Proxy) -> None:
    statuses = [read(workers, METADATA) for _ in range(12)]
    assert (statuses.count(200), statuses.count(413)) == (4, 8)


def test_a_write_to_one_worker_is_seen_by_reads_of_the_others(workers: Proxy) -> None:
    def values() -> set[str]:
        seen = set()
        for _ in range(12):
            with workers.client(ALICE) as alice:
                seen.add(alice.get(ITEM).json()["meta"]["label"])
        return seen

    before = values()
    with workers.client(ALICE) as alice:
        alice.put(ITEM, json={"meta": {"label": "Shared"}})
    wait_until(lambda: values() == {"Shared"}, what="every worker to forget the old value")
    assert before == {"Updated"}


def test_all_workers_end_with_the_server(workers: Proxy) -> None:
    server = workers.server.process.pid
    wait_until(lambda: len(descendants(server)) >= 2, what="two workers")
    started = descendants(server)
    workers.server.terminate()
    assert workers.server.wait() == 0
    assert all(gone(worker) for worker in started)


def test_workers_that_are_started_anew_know_what_was_revoked(workers: Proxy) -> None:
    revoke = f"{workers.admin_url}/tokens/revoke"
    httpx.post(revoke, json={"token": ALICE.token}, trust_env=False, timeout=60).raise_for_status()
    wait_until(lambda: {read(workers, ITEM) for _ in range(8)} == {401}, what="the revocation")

    statuses = []
    for _ in range(2):
        former = descendants(workers.server.process.pid)
        for worker in former:
            os.kill(worker, signal.SIGKILL)
        statuses += [read(workers, ITEM) for _ in range(12)]  # the listener is the supervisor's

    assert statuses == [401] * 24
