"""What a reload renews besides the listener: TLS towards other servers, secrets, tokens."""

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.deployment import Proxy, Sections, running_proxy
from tests.e2e.operating import Operator
from tests.e2e.processes import wait_until
from tests.e2e.renewing import TlsServer, put, put_pair
from tests.unit.forward.certificates import Authority

pytestmark = pytest.mark.e2e

NO_SERVER = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("servers"), "servers")


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("clients"), "clients")


@pytest.fixture
def server(servers: Authority, clients: Authority) -> Iterator[TlsServer]:
    with TlsServer(servers.issue("server"), clients.ca) as running:
        yield running


def tls(folder: Path) -> dict[str, str]:
    return {
        "ca": str(folder / "ca.pem"),
        "certificate": str(folder / "client.pem"),
        "key": str(folder / "client.key"),
    }


def calling(section: str, folder: Path, server: TlsServer) -> Sections:
    """The sections of a proxy that calls ``server`` as its compute API or as its identity service."""
    sections: dict[str, dict[str, Any]] = {section: {"tls": tls(folder)}}
    if section == "identity":
        sections["identity"]["url"] = f"{server.url}/v3"
    else:
        sections["upstream"] |= {"targets": [server.url], "health": {"interval": "100ms"}}
    return sections


@pytest.mark.parametrize("how", ["renamed", "linked"])
@pytest.mark.parametrize("section", ["upstream", "identity"])
def test_a_new_client_certificate_is_shown_to_servers(
    tmp_path: Path, servers: Authority, clients: Authority, server: TlsServer, section: str, how: str
) -> None:
    shutil.copy(servers.ca, tmp_path / "ca.pem")
    put_pair(clients.issue("first"), tmp_path, name="client")
    sections = calling(section, tmp_path, server)
    with running_proxy(tmp_path, upstream=NO_SERVER, identity=NO_SERVER, sections=sections):
        wait_until(lambda: "first" in server.names, what="a call")

        put_pair(clients.issue("second"), tmp_path, how, name="client")

        wait_until(lambda: "second" in server.names, what="a call with the new certificate")


@pytest.mark.parametrize("section", ["upstream", "identity"])
def test_a_new_authority_of_a_server_is_trusted(
    tmp_path: Path, servers: Authority, clients: Authority, server: TlsServer, section: str
) -> None:
    others = Authority(tmp_path, "others")
    shutil.copy(others.ca, tmp_path / "ca.pem")
    put_pair(clients.issue("client"), tmp_path, name="client")
    sections = calling(section, tmp_path, server)
    with running_proxy(tmp_path, upstream=NO_SERVER, identity=NO_SERVER, sections=sections):
        wait_until(lambda: server.refused > 0, what="a call that trusts nobody")
        before = list(server.names)

        put(tmp_path / "ca.pem", servers.ca, "renamed")

        wait_until(lambda: "client" in server.names, what="a call that trusts the server")
        assert before == []


def test_a_connection_of_before_carries_no_request_after_the_reload(
    tmp_path: Path, servers: Authority, clients: Authority, server: TlsServer
) -> None:
    shutil.copy(servers.ca, tmp_path / "ca.pem")
    put_pair(clients.issue("old"), tmp_path, name="client")
    sections: Sections = {"upstream": {"targets": [server.url], "tls": tls(tmp_path)}}
    with (
        running_proxy(tmp_path, upstream=NO_SERVER, identity=NO_SERVER, sections=sections) as proxy,
        proxy.client() as client,
        Operator(proxy) as operator,
    ):
        assert client.get("/").status_code == 200
        put_pair(clients.issue("new"), tmp_path, name="client")
        assert operator.change("/reload", {}).status_code == 200
        server.names.clear()

        assert client.get("/").status_code == 200

        assert set(server.names) == {"new"}


def test_a_server_certificate_that_was_trusted_is_not_after_its_authority_is_removed(
    tmp_path: Path, servers: Authority, clients: Authority, server: TlsServer
) -> None:
    shutil.copy(servers.ca, tmp_path / "ca.pem")
    put_pair(clients.issue("trusting"), tmp_path, name="client")
    sections: Sections = {"upstream": {"targets": [server.url], "tls": tls(tmp_path)}}
    with (
        running_proxy(tmp_path, upstream=NO_SERVER, identity=NO_SERVER, sections=sections) as proxy,
        proxy.client() as client,
        Operator(proxy) as operator,
    ):
        before = client.get("/").status_code
        put(tmp_path / "ca.pem", Authority(tmp_path, "others").ca, "renamed")
        operator.change("/reload", {})

        assert (before, client.get("/").status_code) == (200, 502)


def admits(proxy: Proxy, worker: int, token: str) -> bool:
    url = f"http://127.0.0.1:{proxy.admin_port + worker}/status"
    headers = {"Authorization": f"Bearer {token}"}
    try:
        return httpx.get(url, headers=headers, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def test_a_secret_from_a_file_is_renewed_in_every_worker(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("old-token\n")
    (tmp_path / "two").write_text("new-token\n")
    secret = tmp_path / "token"
    secret.symlink_to("one")
    sections: Sections = {
        "server": {"workers": 2},
        "admin": {"token": f"${{file:{secret}}}"},
    }
    with running_proxy(tmp_path, upstream=NO_SERVER, identity=NO_SERVER, sections=sections) as proxy:
        for worker in (0, 1):
            wait_until(lambda: admits(proxy, worker, "old-token"), what="the worker")  # noqa: B023

        (tmp_path / "link").symlink_to("two")
        (tmp_path / "link").rename(secret)

        for worker in (0, 1):
            wait_until(lambda: admits(proxy, worker, "new-token"), what="the new token")  # noqa: B023
            assert not admits(proxy, worker, "old-token")


TOKENS = "- {{token: {token}, user: {{id: u, name: u}}, project: {{id: p, name: p}}, roles: []}}\n"


def test_the_list_of_tokens_in_a_file_of_its_own_is_renewed(tmp_path: Path) -> None:
    config, tokens = tmp_path / "metaproxy.yaml", tmp_path / "tokens.yaml"
    tokens.write_text(TOKENS.format(token="old"))
    with running_proxy(tmp_path, upstream=NO_SERVER, identity=NO_SERVER) as proxy:
        text = config.read_text()
        start, end = text.index("identity:"), text.index("server:")
        config.write_text(
            f"{text[:start]}identity: {{provider: static, tokens_file: tokens.yaml}}\n{text[end:]}"
        )

        def status(token: str) -> int:
            with proxy.client() as client:
                return client.get("/v2.1/p/servers", headers={"X-Auth-Token": token}).status_code

        wait_until(lambda: status("old") == 502, what="the list to be used")
        tokens.write_text(TOKENS.format(token="new"))

        wait_until(lambda: status("new") == 502, what="the new list")
        assert status("old") == 401


def test_a_refused_file_makes_the_command_fail_and_sighup_changes_nothing(tmp_path: Path) -> None:
    with (
        running_proxy(tmp_path, upstream=NO_SERVER, identity=NO_SERVER, arguments=("--no-watch",)) as proxy,
        Operator(proxy) as operator,
    ):
        proxy.config.write_text("broken: [")

        proxy.server.process.send_signal(signal.SIGHUP)

        wait_until(lambda: bool(operator.read("/config")["problems"]), what="the refusal")
        assert operator.generation() == 1
        assert operator.change("/reload", {}).status_code == 422
