"""An upstream or an identity service that is down: a clear answer, and the process goes on."""

from pathlib import Path

import httpx
import pytest

from metaproxy.demo.world import ALICE
from tests.e2e.deployment import ITEM, RED_API, Proxy, running_proxy
from tests.e2e.processes import demo_service, wait_until
from tests.ports import HeldPorts

pytestmark = pytest.mark.e2e

HEALTH = {"path": "/", "interval": "100ms", "eject_for": "100ms"}
BRISK = {"upstream": {"health": HEALTH, "breaker": {"open_for": "100ms"}}}


def test_while_the_upstream_is_down_requests_fail_and_when_it_is_back_they_succeed(
    tmp_path: Path, identity: str
) -> None:
    with (
        HeldPorts() as held,
        running_proxy(
            tmp_path / "proxy", upstream=f"http://127.0.0.1:{held.first}", identity=identity, sections=BRISK
        ) as proxy,
        proxy.client(ALICE) as alice,
    ):
        answer = alice.get(ITEM)
        assert answer.status_code in (502, 503)
        assert next(iter(answer.json())) in ("badGateway", "serviceUnavailable")
        assert alice.get(ITEM, headers={"X-Auth-Token": ""}).status_code == 401
        with demo_service("compute", tmp_path, "--port", str(held.first)):
            wait_until(lambda: alice.get(ITEM).status_code == 200, what="the upstream to be used again")


def test_what_is_in_memory_is_answered_while_the_upstream_is_down(tmp_path: Path, identity: str) -> None:
    with demo_service("compute", tmp_path) as compute:
        proxy = Proxy(tmp_path / "proxy", upstream=compute, identity=identity)
        proxy.until_ready()
        with proxy.client(ALICE) as alice:
            assert alice.get(ITEM).status_code == 200
    try:
        with proxy.client(ALICE) as alice:
            assert alice.get(ITEM).json() == {"meta": {"label": "Updated"}}
    finally:
        proxy.server.stop()


def test_an_upstream_that_is_too_slow_is_a_gateway_timeout(
    tmp_path: Path, compute: str, identity: str
) -> None:
    sections = {"upstream": {"timeouts": {"read": "100ms"}, "retries": 0}}
    told = {"delay_seconds": 5, "requests": 100}
    with (
        running_proxy(tmp_path, upstream=compute, identity=identity, sections=sections) as proxy,
        proxy.client(ALICE) as alice,
    ):
        httpx.put(f"{compute}/_demo/behaviour", json=told, trust_env=False)
        answer = alice.get(f"{RED_API}/images/detail")
        httpx.delete(f"{compute}/_demo/behaviour", trust_env=False)
    assert (answer.status_code, "gatewayTimeout" in answer.json()) == (504, True)


def test_while_identity_is_down_unknown_tokens_are_refused_and_known_ones_go_on(
    tmp_path: Path, compute: str
) -> None:
    with demo_service("identity", tmp_path) as identity:
        proxy = Proxy(tmp_path / "proxy", upstream=compute, identity=identity)
        proxy.until_ready()
        with proxy.client(ALICE) as alice:
            assert alice.get(ITEM).status_code == 200
    try:
        with proxy.client(ALICE) as alice:
            assert alice.get(ITEM).status_code == 200
            assert alice.get(ITEM, headers={"X-Auth-Token": "unknown"}).status_code in (502, 503)
    finally:
        proxy.server.stop()
