"""The operator's view of a real proxy: over HTTP, over a unix socket, and from the command line."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from metaproxy.demo.world import ALICE, RED, RED_IMAGE
from tests.e2e.deployment import ITEM, Proxy, Sections, running_proxy
from tests.e2e.operating import Operator, replace
from tests.e2e.processes import wait_until
from tests.e2e.starting import run

pytestmark = pytest.mark.e2e

TOKEN = "an-operators-token"
LISTS = f"/v2.1/{RED.id}/images/detail"
RATE = {"name": "lists", "path": LISTS, "per": ["project"], "rate": "2/hour", "burst": 2}


@pytest.fixture(scope="module")
def admin_proxy(tmp_path_factory: pytest.TempPathFactory, compute: str, identity: str) -> Iterator[Proxy]:
    sections: Sections = {"limits": {"rates": [RATE]}}
    folder = tmp_path_factory.mktemp("operated")
    with running_proxy(folder, upstream=compute, identity=identity, sections=sections) as proxy:
        yield proxy


@pytest.fixture
def operator(admin_proxy: Proxy) -> Iterator[Operator]:
    with Operator(admin_proxy) as operator:
        yield operator


def command(*arguments: str, admin: str, token: str = "", said: str = "") -> subprocess.CompletedProcess[str]:
    """Run ``metaproxy`` with ``arguments`` against the listener ``admin``; ``said`` is its standard input."""
    environment = {**os.environ, "METAPROXY_ADMIN": admin, "METAPROXY_ADMIN_TOKEN": token}
    return run(*arguments, said=said, environment=environment)


def status_of(proxy: Proxy, path: str) -> int:
    with proxy.client(ALICE) as alice:
        return alice.get(path).status_code


def test_the_admin_interface_is_not_on_the_clients_listener(admin_proxy: Proxy) -> None:
    for path in ("/status", "/metrics", "/healthz", "/config", "/page/main.js"):
        assert httpx.get(admin_proxy.url + path, trust_env=False).status_code in {401, 404}


def test_status_tells_how_it_goes_and_exits_with_0(admin_proxy: Proxy) -> None:
    status_of(admin_proxy, ITEM)

    told = command("status", admin=admin_proxy.admin_url)

    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith("metaproxy 0.")
    assert "ok  upstream   1 of 1 healthy" in told.stdout


def test_top_shows_requests_by_outcome(admin_proxy: Proxy) -> None:
    status_of(admin_proxy, ITEM)

    told = command("top", "--count", "1", "--interval", "0.2", admin=admin_proxy.admin_url)

    assert told.returncode == 0, told.stderr
    assert "per second" in told.stdout


def test_what_is_purged_from_the_command_line_is_asked_for_again(
    admin_proxy: Proxy, operator: Operator
) -> None:
    with admin_proxy.client(ALICE) as alice:
        alice.get(ITEM)
        hit = alice.get(ITEM).headers["cache-status"]

        told = command("purge", "--image", RED_IMAGE.id, admin=admin_proxy.admin_url)

        assert "; hit" in hit
        assert told.returncode == 0, told.stderr
        assert operator.read("/cache")["images"] == []
        assert "; fwd=uri-miss" in alice.get(ITEM).headers["cache-status"]


def test_a_purge_names_one_thing(admin_proxy: Proxy) -> None:
    assert command("purge", admin=admin_proxy.admin_url).returncode == 2


def test_a_consumer_that_was_reset_begins_anew(admin_proxy: Proxy) -> None:
    statuses = [status_of(admin_proxy, LISTS) for _ in range(3)]

    told = command("limits", "reset", f"project:{RED.id}", admin=admin_proxy.admin_url)

    assert statuses == [200, 200, 413]
    assert told.stdout == f"project:{RED.id}: 1 counters forgotten\n"
    assert status_of(admin_proxy, LISTS) == 200


def test_the_busiest_consumers_are_told(admin_proxy: Proxy) -> None:
    status_of(admin_proxy, LISTS)

    told = command("limits", "show", admin=admin_proxy.admin_url)

    assert f"project:{RED.id}" in told.stdout


def test_the_log_level_changes_at_run_time(admin_proxy: Proxy, operator: Operator) -> None:
    told = command("log-level", "debug", admin=admin_proxy.admin_url)

    assert told.stdout == "debug\n"
    assert operator.read("/logging") == {"level": "debug"}
    command("log-level", "info", admin=admin_proxy.admin_url)


def test_the_configuration_in_use_is_told_without_its_secrets(admin_proxy: Proxy) -> None:
    told = command("config", "show", admin=admin_proxy.admin_url)

    shown = yaml.safe_load(told.stdout)
    assert told.returncode == 0, told.stderr
    assert shown["server"]["listen"] == [f"127.0.0.1:{admin_proxy.port}"]
    assert shown["identity"]["login"]["password"] == "***"


def test_reload_tells_the_generation_or_every_problem(tmp_path: Path, compute: str, identity: str) -> None:
    with running_proxy(tmp_path, upstream=compute, identity=identity) as proxy:
        wait_until(lambda: command("status", admin=proxy.admin_url).returncode == 0, what="the proxy")

        good = command("reload", admin=proxy.admin_url)
        replace(proxy, "server: {}\n")
        bad = command("reload", admin=proxy.admin_url)

    assert (good.returncode, "generation 2 is in use" in good.stdout) == (0, True)
    assert bad.returncode == 1
    assert "nothing has changed" in bad.stderr
    assert "upstream" in bad.stderr


def test_over_a_unix_socket_no_token_is_needed(tmp_path: Path, compute: str, identity: str) -> None:
    socket = tmp_path / "admin.sock"
    sections: Sections = {"admin": {"listen": f"unix:{socket}"}}
    with running_proxy(tmp_path, upstream=compute, identity=identity, sections=sections):
        told = command("status", "--json", admin=f"unix:{socket}")

    assert told.returncode == 0, told.stderr


def test_where_a_token_is_needed_commands_take_it_from_the_environment(
    tmp_path: Path, compute: str, identity: str
) -> None:
    sections: Sections = {"admin": {"token": TOKEN}}
    with running_proxy(tmp_path, upstream=compute, identity=identity, sections=sections) as proxy:
        without = command("status", admin=proxy.admin_url)
        wrong = command("status", admin=proxy.admin_url, token="wrong")
        with_token = command("status", admin=proxy.admin_url.removeprefix("http://"), token=TOKEN)

    assert (without.returncode, wrong.returncode, with_token.returncode) == (1, 1, 0)
    assert "needs its token: set METAPROXY_ADMIN_TOKEN" in without.stderr
    assert "refuses the token in METAPROXY_ADMIN_TOKEN" in wrong.stderr


def test_a_listener_that_is_not_there_is_told() -> None:
    for asked in (["status"], ["config", "show"]):
        told = command(*asked, admin="http://127.0.0.1:1")

        assert told.returncode == 3
        assert "http://127.0.0.1:1 cannot be reached" in told.stderr
