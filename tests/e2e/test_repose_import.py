"""Folders of Repose's files, converted, served, and held to what they said."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from metaproxy.config.repose import import_folder
from metaproxy.demo.world import ADMIN, ALICE, BOB, METAPROXY, RED, RED_IMAGE, RED_OTHER_IMAGE, Person
from tests.e2e.deployment import ITEM, METADATA, RED_API
from tests.e2e.processes import ROOT, ServerProcess, accepts
from tests.e2e.starting import run
from tests.ports import HeldPorts

pytestmark = pytest.mark.e2e

SETS = ROOT / "tests/unit/repose/sets"
PASSWORD = METAPROXY.password


@contextmanager
def converted(name: str, folder: Path, *, compute: str, identity: str) -> Iterator[str]:
    """Convert a set, do what its report leaves to the operator, and serve it; yields the proxy's URL."""
    file, held = folder / f"{name}.yaml", HeldPorts()
    port = held.first
    accepted = [f"--accept-open={guard}" for guard in import_folder(SETS / name).not_converted]
    run("import-repose", str(SETS / name), "-o", str(file), *accepted).check_returncode()
    file.write_text(yaml.safe_dump(moved(yaml.safe_load(file.read_text()), port, compute, identity)))
    server = ServerProcess(["metaproxy", "serve", "--config", str(file)], folder / f"{name}.log")
    try:
        server.until(lambda: accepts(port))
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stop()
        held.close()


def moved(config: dict[str, Any], port: int, compute: str, identity: str) -> dict[str, Any]:
    """Return ``config`` with the addresses and the account of this machine, everything else untouched."""
    config["server"] = {"listen": f"127.0.0.1:{port}"}
    config["admin"] = {"listen": []}
    config["upstream"]["targets"] = [compute]
    if "login" in config["identity"]:
        config["identity"]["url"] = f"{identity}/v3"
        config["identity"]["login"] |= {"username": METAPROXY.name, "password": PASSWORD}
    return config


def client(url: str, person: Person | None = None) -> httpx.Client:
    headers = {"X-Auth-Token": person.token} if person else {}
    return httpx.Client(base_url=url, headers=headers, timeout=300, trust_env=False)


@pytest.fixture(scope="module")
def rbac(folder: Path, compute: str, identity: str) -> Iterator[str]:
    with converted("rbac", folder, compute=compute, identity=identity) as url:
        yield url


@pytest.mark.parametrize(
    ("person", "method", "path", "status"),
    [
        (ALICE, "GET", f"{RED_API}/images/detail", 200),
        (ALICE, "GET", METADATA, 200),
        (ALICE, "GET", ITEM, 200),
        (ALICE, "PUT", ITEM, 403),
        (ALICE, "POST", METADATA, 403),
        (ALICE, "GET", f"{RED_API}/images/{RED_IMAGE.id}", 403),
        (ADMIN, "PUT", ITEM, 200),
        (BOB, "GET", ITEM, 403),
    ],
)
def test_lines_of_rbac_and_the_tenant_rule_hold(
    rbac: str, person: Person, method: str, path: str, status: int
) -> None:
    body = {"meta": {"label": "Updated"}} if method == "PUT" else None
    with client(rbac, person) as caller:
        assert caller.request(method, path, json=body).status_code == status


def test_without_a_token_a_request_is_unauthorized(rbac: str) -> None:
    with client(rbac) as nobody:
        assert nobody.get(ITEM).status_code == 401


@pytest.fixture(scope="module")
def rates(folder: Path, compute: str, identity: str) -> Iterator[str]:
    with converted("rates", folder, compute=compute, identity=identity) as url:
        yield url


def test_every_capture_has_a_counter_of_its_own(rates: str) -> None:
    other = f"{RED_API}/images/{RED_OTHER_IMAGE.id}/metadata/kind"
    with client(rates, ALICE) as alice:
        assert [alice.get(ITEM).status_code for _ in range(3)] == [200, 200, 413]
        assert alice.get(METADATA).status_code == 413
        assert alice.get(other).status_code == 200
    with client(rates, ADMIN) as admin:
        assert admin.get(ITEM).status_code == 200


def test_a_limit_by_query_parameters_counts_only_requests_that_have_them_all(rates: str) -> None:
    path = f"{RED_API}/images/detail"
    with client(rates, ALICE) as alice:
        polls = [alice.get(f"{path}?Changes-Since=2026-01-01T00:00:00Z&limit=5") for _ in range(2)]
        assert [answer.status_code for answer in polls] == [200, 413]
        assert alice.get(f"{path}?limit=5").status_code == 200


def test_limits_are_told_where_the_request_endpoint_was(rates: str) -> None:
    with client(rates, ALICE) as alice:
        told = alice.get(f"/v2.1/{RED.id}/limits").json()["limits"]["rate"]
    assert {(limit["verb"], limit["value"], limit["unit"]) for rate in told for limit in rate["limit"]} == {
        ("ALL", 100, "SECOND"),
        ("GET", 2, "MINUTE"),
        ("HEAD", 2, "MINUTE"),
        ("GET", 1, "HOUR"),
        ("HEAD", 1, "HOUR"),
    }


def test_without_identity_addresses_are_counted(tmp_path: Path, compute: str, identity: str) -> None:
    with converted("ip-user", tmp_path, compute=compute, identity=identity) as url, client(url) as caller:
        answers = [caller.get("/") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert int(answers[-1].headers["Retry-After"]) > 0
    assert {answer.headers["Strict-Transport-Security"] for answer in answers} == {"max-age=31536000"}


def test_pages_that_could_ask_repose_can_ask(tmp_path: Path, compute: str, identity: str) -> None:
    page = {"Origin": "https://console.example.com", "Access-Control-Request-Method": "PUT"}
    with converted("openstack-v3", tmp_path, compute=compute, identity=identity) as url, client(url) as asks:
        mine = asks.options(ITEM, headers=page)
        other = asks.options(ITEM, headers=page | {"Origin": "https://console.example.com.evil.invalid"})
    assert (mine.status_code, mine.headers["Access-Control-Allow-Methods"]) == (204, "GET, PUT")
    assert other.status_code == 403


@pytest.mark.parametrize("name", ["rackspace-v2", "openstack-v3", "router"])
def test_paths_of_the_white_list_need_no_token(
    tmp_path: Path, compute: str, identity: str, name: str
) -> None:
    with converted(name, tmp_path, compute=compute, identity=identity) as url, client(url) as nobody:
        assert nobody.get("/").status_code == 200
        other = nobody.get(ITEM)
    assert other.status_code == 401
    # Without identity the API behind refuses by itself; else metaproxy does, in its own words.
    assert ("unauthorized" in other.json()) == (name != "router")
