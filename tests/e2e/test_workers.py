"""Several processes behind one port, with what they share in their supervisor or in a real Redis."""

import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from metaproxy.demo.world import ALICE
from tests.e2e.deployment import ITEM, METADATA, RED_API, ROUTE, Proxy, Sections, running_proxy
from tests.e2e.processes import children, descendants, gone, wait_until
from tests.e2e.sockets import ScriptedUpstream, UpstreamConnection, WireClient
from tests.redis_server import RedisServer

pytestmark = pytest.mark.e2e

RATE = {"name": "lists", "path": ROUTE, "methods": ["GET"], "per": ["project"], "rate": "4/hour", "burst": 4}


@contextmanager
def store(place: str) -> Iterator[Sections]:
    """Yield the section ``store`` for what is shared in ``place``."""
    if place == "supervisor":
        yield {}
        return
    with RedisServer() as redis:
        # A machine that is busy with other tests may not answer within the usual 50 ms, and a store that
        # is away would let each worker count for itself.
        yield {"store": {"url": redis.url, "timeout": "2s"}}


@pytest.fixture(params=["supervisor", pytest.param("Redis", marks=pytest.mark.redis)])
def workers(request: pytest.FixtureRequest, tmp_path: Path, compute: str, identity: str) -> Iterator[Proxy]:
    with store(request.param) as shared:
        sections: Sections = {"server": {"workers": 2}, "limits": {"rates": [RATE]}, **shared}
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

    before, label = values(), uuid4().hex
    with workers.client(ALICE) as alice:
        alice.put(ITEM, json={"meta": {"label": label}})
    assert (values(), len(before)) == ({label}, 1)


def test_an_event_of_a_worker_has_its_number(workers: Proxy) -> None:
    wait_until(lambda: workers.server.output.count('"serving"') == 2, what="both workers")

    events = [json.loads(line) for line in workers.server.output.splitlines() if '"serving"' in line]
    assert sorted(event["worker"] for event in events) == [0, 1]


def test_all_workers_end_with_the_server(workers: Proxy) -> None:
    server = workers.server.process.pid
    wait_until(lambda: len(descendants(server)) >= 2, what="two workers")
    started = descendants(server)
    workers.server.terminate()
    assert workers.server.wait() == 0
    assert all(gone(worker) for worker in started)


def test_while_the_supervisor_stands_still_workers_do_what_is_configured(
    tmp_path: Path, compute: str, identity: str
) -> None:
    limits = {"rates": [RATE], "on_store_failure": "deny"}
    sections: Sections = {"server": {"workers": 2}, "limits": limits}
    with running_proxy(tmp_path, upstream=compute, identity=identity, sections=sections) as proxy:
        supervisor = proxy.server.process.pid
        before = read(proxy, METADATA)
        os.kill(supervisor, signal.SIGSTOP)
        try:
            wait_until(lambda: read(proxy, METADATA) == 503, what="a worker to refuse")
        finally:
            os.kill(supervisor, signal.SIGCONT)
        wait_until(lambda: read(proxy, METADATA) != 503, what="the supervisor to answer again")
    assert before == 200


def kill_all(workers: Proxy) -> None:
    for worker in descendants(workers.server.process.pid):
        os.kill(worker, signal.SIGKILL)


def test_workers_that_are_started_anew_go_on_counting_where_the_others_were(workers: Proxy) -> None:
    before = [read(workers, METADATA) for _ in range(3)]
    kill_all(workers)
    after = [read(workers, METADATA) for _ in range(6)]
    assert (before, after) == ([200] * 3, [200] + [413] * 5)


def test_a_reload_keeps_what_was_counted(workers: Proxy) -> None:
    before = [read(workers, METADATA) for _ in range(3)]
    workers.config.write_text(workers.config.read_text() + "via: {pseudonym: other}\n")
    httpx.post(f"{workers.admin_url}/reload", json={}, trust_env=False, timeout=60).raise_for_status()
    after = [read(workers, METADATA) for _ in range(6)]
    assert (before, after) == ([200] * 3, [200] + [413] * 5)


def test_workers_that_are_started_anew_know_what_was_revoked(workers: Proxy) -> None:
    revoke = f"{workers.admin_url}/tokens/revoke"
    httpx.post(revoke, json={"token": ALICE.token}, trust_env=False, timeout=60).raise_for_status()
    wait_until(lambda: {read(workers, ITEM) for _ in range(8)} == {401}, what="the revocation")

    statuses = []
    for _ in range(2):
        kill_all(workers)
        statuses += [read(workers, ITEM) for _ in range(12)]  # the listener is the supervisor's

    assert statuses == [401] * 24


def test_workers_that_die_at_once_end_the_server_which_says_why(
    tmp_path: Path, compute: str, identity: str
) -> None:
    sections: Sections = {"server": {"workers": 2}}
    with running_proxy(tmp_path, upstream=compute, identity=identity, sections=sections) as proxy:
        process = proxy.server.process

        def has_ended() -> bool:
            for worker in children(process.pid) if process.poll() is None else ():
                os.kill(worker, signal.SIGKILL)
            return process.poll() is not None

        wait_until(has_ended, what="the supervisor to give up")

        assert process.poll() == 1
        assert "workers die right after their start, the supervisor gives up" in proxy.server.output


def test_a_worker_that_dies_while_it_drains_is_logged(tmp_path: Path, identity: str) -> None:
    never = threading.Event()

    def hang(_: UpstreamConnection, __: bytes) -> None:
        never.wait(60)

    sections: Sections = {"server": {"workers": 2, "shutdown_grace": "300s"}}
    with (
        ScriptedUpstream(hang) as upstream,
        running_proxy(tmp_path, upstream=upstream.url, identity=identity, sections=sections) as proxy,
        WireClient(proxy.port) as client,
    ):
        client.send(f"GET {RED_API}/servers HTTP/1.1", "Host: compute", f"X-Auth-Token: {ALICE.token}")
        wait_until(lambda: any(b"/servers" in head for head in upstream.heads), what="the request")
        workers = children(proxy.server.process.pid)
        proxy.server.terminate()
        wait_until(lambda: "draining" in proxy.server.output, what="the drain")
        for worker in workers:
            if not gone(worker):
                os.kill(worker, signal.SIGKILL)
        never.set()

        assert proxy.server.wait() == 0
        assert "a worker died while stopping" in proxy.server.output
