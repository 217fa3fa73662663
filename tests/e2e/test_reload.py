"""A new configuration is taken into use while requests are served, or is refused and changes nothing."""

import asyncio
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from metaproxy.demo.world import ALICE
from tests.e2e.deployment import ITEM, Proxy, Sections, requests_seen, running_proxy
from tests.e2e.operating import Operator, replace, rewrite
from tests.e2e.processes import wait_until
from tests.e2e.sockets import OK, ScriptedUpstream, UpstreamConnection
from tests.redis_server import RedisServer

pytestmark = pytest.mark.e2e

RELOADS = 200
CLIENTS = 5
MIN_REQUESTS = 1000

VARIANTS: tuple[Sections, Sections] = (
    {"via": {"pseudonym": "alpha"}, "cache": {"hit_status": 200}},
    {"via": {"pseudonym": "beta"}, "cache": {"hit_status": 203}},
)
"""Two configurations whose answers tell in three places which of them was in use."""


@pytest.fixture
def proxy(tmp_path: Path, compute: str, identity: str) -> Iterator[Proxy]:
    with running_proxy(tmp_path, upstream=compute, identity=identity) as proxy:
        yield proxy


@pytest.fixture
def operator(proxy: Proxy) -> Iterator[Operator]:
    with Operator(proxy) as operator:
        yield operator


@dataclass
class Seen:
    """What clients got while configurations changed."""

    answers: int = 0
    failed: int = 0
    mixed: int = 0
    pseudonyms: frozenset[str] = frozenset()

    def take(self, response: httpx.Response) -> None:
        self.answers += 1
        pseudonym = response.headers["via"].split()[1]
        is_hit = "; hit" in response.headers["cache-status"]
        status = {"alpha": 200, "beta": 203}[pseudonym] if is_hit else 200
        self.failed += response.status_code >= 400
        self.mixed += response.status_code != status
        self.mixed += not response.headers["cache-status"].startswith(pseudonym)
        self.pseudonyms |= {pseudonym}


async def reads_until(stop: threading.Event, proxy: Proxy, seen: Seen) -> None:
    headers = {"X-Auth-Token": ALICE.token}
    async with httpx.AsyncClient(base_url=proxy.url, headers=headers, timeout=300, trust_env=False) as client:
        while not stop.is_set() or seen.answers < MIN_REQUESTS:
            try:
                seen.take(await client.get(ITEM))
            except httpx.TransportError:
                seen.failed += 1


def reload_again_and_again(proxy: Proxy, operator: Operator, done: threading.Event) -> None:
    try:
        for number in range(RELOADS):
            rewrite(proxy, VARIANTS[number % 2])
            assert operator.change("/reload", {}).status_code == 200
    finally:
        done.set()


async def test_reloads_under_load_lose_no_request_and_mix_no_answer(proxy: Proxy, operator: Operator) -> None:
    rewrite(proxy, VARIANTS[1])
    operator.change("/reload", {})
    seen, done = Seen(), threading.Event()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(CLIENTS):
            tasks.create_task(reads_until(done, proxy, seen))
        tasks.create_task(asyncio.to_thread(reload_again_and_again, proxy, operator, done))

    assert (seen.failed, seen.mixed) == (0, 0)
    assert seen.answers >= MIN_REQUESTS
    assert seen.pseudonyms == {"alpha", "beta"}
    assert operator.generation() > RELOADS


def test_a_bad_file_changes_nothing_and_is_told(proxy: Proxy, operator: Operator) -> None:
    replace(proxy, "server: {listne: 127.0.0.1:1}\n")

    refused = operator.change("/reload", {})

    assert refused.status_code == 422
    problems = "\n".join(refused.json()["problems"])
    assert "metaproxy.yaml:1: server.listne" in problems
    with proxy.client(ALICE) as alice:
        assert alice.get(ITEM).status_code == 200
    ready = operator.client.get("/readyz")
    assert ready.status_code == 200
    assert "server.listne" in ready.json()["checks"]["config"]["says"]
    assert "metaproxy_config_last_reload_successful 0.0" in operator.client.get("/metrics").text
    assert "configuration refused" in proxy.server.output
    assert operator.generation() == 1


def test_a_changed_file_is_taken_into_use_by_itself(proxy: Proxy, operator: Operator) -> None:
    rewrite(proxy, {"via": {"pseudonym": "changed"}})

    wait_until(lambda: operator.generation() == 2, what="the change to be noticed")

    with proxy.client(ALICE) as alice:
        assert alice.get(ITEM).headers["via"].startswith("1.1 changed")


def test_sighup_reloads(proxy: Proxy, operator: Operator) -> None:
    assert operator.generation() == 1

    proxy.server.process.send_signal(signal.SIGHUP)

    wait_until(lambda: operator.generation() == 2, what="the reload")


def test_what_is_stored_and_known_outlives_a_reload_that_leaves_it_as_it_is(
    proxy: Proxy, operator: Operator, compute: str, identity: str
) -> None:
    with proxy.client(ALICE) as alice:
        alice.get(ITEM)
        asked = requests_seen(compute), requests_seen(identity)

        rewrite(proxy, {"authorization": {"mask_as_not_found": True}})
        operator.change("/reload", {})

        assert "; hit" in alice.get(ITEM).headers["cache-status"]
        assert (requests_seen(compute), requests_seen(identity)) == asked


def test_counts_go_on_across_a_reload(proxy: Proxy, operator: Operator) -> None:
    with proxy.client(ALICE) as alice:
        alice.get(ITEM)
        operator.change("/reload", {})
        alice.get(ITEM)

    assert sum(operator.read("/status")["requests"].values()) == 2


def test_a_request_under_way_is_finished_by_the_upstream_that_it_was_sent_to(
    proxy: Proxy, operator: Operator, compute: str
) -> None:
    reloaded = threading.Event()

    def slow(connection: UpstreamConnection, head: bytes) -> None:
        connection.send(OK[:-1])
        assert reloaded.wait(20)
        connection.send(OK[-1:])

    with ScriptedUpstream(slow) as upstream, proxy.client(ALICE) as alice:
        rewrite(proxy, {"upstream": {"targets": [upstream.url]}})
        operator.change("/reload", {})
        with alice.stream("GET", "/v2.1/") as under_way:
            rewrite(proxy, {"upstream": {"targets": [compute]}})
            assert operator.change("/reload", {}).status_code == 200
            reloaded.set()
            assert under_way.read() == b"ok"
        assert alice.get(ITEM).json() == {"meta": {"label": "Updated"}}


def test_another_listener_is_told_to_need_a_restart_and_the_rest_is_taken(
    proxy: Proxy, operator: Operator
) -> None:
    rewrite(proxy, {"server": {"listen": "127.0.0.1:1"}, "via": {"pseudonym": "changed"}})

    answer = operator.change("/reload", {}).json()

    assert answer["needs_restart"] == ["server.listen"]
    with proxy.client(ALICE) as alice:
        assert alice.get(ITEM).headers["via"].startswith("1.1 changed")


@pytest.mark.redis
def test_the_operator_of_one_worker_reloads_all(tmp_path: Path, compute: str, identity: str) -> None:
    with RedisServer() as redis:
        sections: Sections = {"server": {"workers": 2}, "store": {"url": redis.url}}
        with (
            running_proxy(tmp_path, upstream=compute, identity=identity, sections=sections) as proxy,
            Operator(proxy) as first,
            Operator(proxy, worker=1) as second,
        ):
            assert (first.generation(), second.generation()) == (1, 1)

            answered = second.change("/reload", {})
            assert (answered.status_code, answered.json().get("generation")) == (200, 2), answered.text

            wait_until(lambda: first.generation() == 2, what="the other worker to reload")
