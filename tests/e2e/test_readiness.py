"""Readiness of real processes: what identity has to say at the start, and what others say later."""

import socket
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from metaproxy.demo.world import ALICE
from tests.e2e.deployment import ITEM, Proxy, keystone, running_proxy
from tests.e2e.processes import demo_service, wait_until

pytestmark = pytest.mark.e2e

NOWHERE = "http://127.0.0.1:9"


def readyz(proxy: Proxy) -> tuple[int, dict[str, Any]]:
    answer = httpx.get(f"{proxy.admin_url}/readyz", timeout=300, trust_env=False)
    told: dict[str, Any] = answer.json()
    return answer.status_code, told


def until(proxy: Proxy, status: int) -> None:
    wait_until(lambda: readyz(proxy)[0] == status, what=f"readiness to be {status}")


def wrong_password(identity: str) -> dict[str, Any]:
    section = keystone(identity)
    section["login"]["password"] = "wrong"
    return section


def test_with_a_wrong_password_it_never_becomes_ready_and_says_why(
    tmp_path: Path, compute: str, identity: str
) -> None:
    sections = {"identity": wrong_password(identity)}
    with running_proxy(tmp_path, upstream=compute, identity=identity, sections=sections) as proxy:
        for _ in range(3):
            with proxy.client(ALICE) as alice:
                assert alice.get(ITEM).status_code == 503
            status, told = readyz(proxy)
            assert status == 503
            assert "login_refused: status 401" in told["checks"]["identity"]["says"]
        assert httpx.get(f"{proxy.admin_url}/healthz", trust_env=False).status_code == 200


def test_identity_that_comes_later_makes_it_ready_and_its_end_makes_it_degraded(
    tmp_path: Path, compute: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        identity = f"http://127.0.0.1:{port}"
        section = {"identity": {"timeout": "500ms"}}
        proxy = Proxy(tmp_path / "proxy", upstream=compute, identity=identity, sections=section)
        proxy.until_ready()
        until(proxy, 503)
    try:
        with demo_service("identity", tmp_path, "--port", str(port)):
            until(proxy, 200)
        with proxy.client(ALICE) as alice:
            assert alice.get(ITEM).status_code in (503, 504)
        status, told = readyz(proxy)
        assert (status, told["degraded"]) == (200, ["identity"])
    finally:
        proxy.server.stop()


def test_a_dead_upstream_leaves_it_ready_and_degraded(tmp_path: Path, identity: str) -> None:
    with running_proxy(tmp_path, upstream=NOWHERE, identity=identity) as proxy:
        wait_until(lambda: readyz(proxy)[1]["degraded"] == ["upstream"], what="the first failed check")

        assert readyz(proxy)[0] == 200


def test_a_reload_to_a_wrong_password_is_refused_and_requests_go_on(
    tmp_path: Path, compute: str, identity: str
) -> None:
    with running_proxy(tmp_path, upstream=compute, identity=identity) as proxy:
        until(proxy, 200)
        settings = yaml.safe_load(proxy.config.read_text())
        settings["identity"] = wrong_password(identity)
        proxy.config.write_text(yaml.safe_dump(settings))

        answer = httpx.post(f"{proxy.admin_url}/reload", json={}, timeout=300, trust_env=False)

        assert answer.status_code == 422
        line = proxy.config.read_text().splitlines().index("  login:") + 1
        (problem,) = answer.json()["problems"]
        refuses = f"{proxy.config}:{line}: identity.login: identity refuses this login (login_refused"
        assert problem.startswith(refuses)
        with proxy.client(ALICE) as alice:
            assert alice.get(ITEM).status_code == 200
        assert readyz(proxy)[0] == 200


@pytest.mark.parametrize(
    "line", ["GET /readyz HTTP/1.0", "HEAD /healthz HTTP/1.0", "OPTIONS /healthz HTTP/1.0"]
)
def test_a_load_balancers_check_without_a_host_is_answered(
    tmp_path: Path, compute: str, identity: str, line: str
) -> None:
    with running_proxy(tmp_path, upstream=compute, identity=identity) as proxy:
        until(proxy, 200)
        with socket.create_connection(("127.0.0.1", proxy.admin_port), 20) as connection:
            connection.sendall(line.encode() + b"\r\n\r\n")
            assert b" 200 " in connection.makefile("rb").readline()
