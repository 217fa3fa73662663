import configparser
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import yaml

from metaproxy.config.model.server import Server
from tests.deploy.files import DEPLOY
from tests.e2e import starting
from tests.e2e.processes import ROOT, ServerProcess, accepts, wait_until
from tests.ports import HeldPorts

UNITS = DEPLOY / "systemd"


def unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign] # keys keep their case
    parser.read(UNITS / name)
    return parser


def test_the_service_takes_the_socket_by_the_name_that_it_has() -> None:
    assert unit("metaproxy.socket")["Socket"]["FileDescriptorName"] == "data"
    assert unit("metaproxy.socket")["Socket"]["Service"] == "metaproxy.service"


def test_the_process_sees_what_its_metrics_are_read_from() -> None:
    assert "ProcSubset" not in unit("metaproxy.service")["Service"]


def test_the_service_may_open_more_files_than_it_may_have_connections() -> None:
    most = Server.model_construct().max_connections

    assert int(unit("metaproxy.service")["Service"]["LimitNOFILE"]) > 2 * most


def commands(key: str, config: Path) -> list[str]:
    """A command of the service, with this program and this file."""
    program, *arguments = unit("metaproxy.service")["Service"][key].split()
    assert program == "/opt/metaproxy/bin/metaproxy"
    return ["metaproxy", *(word.replace("/etc/metaproxy/metaproxy.yaml", str(config)) for word in arguments)]


def run(arguments: list[str], **environment: str) -> "subprocess.CompletedProcess[str]":
    return starting.run(*arguments[1:], environment={**os.environ, **environment})


@pytest.mark.e2e
def test_the_services_commands_work_and_a_reload_of_a_bad_file_fails(
    tmp_path: Path,
) -> None:
    with HeldPorts(2) as held:
        config = tmp_path / "metaproxy.yaml"
        (tmp_path / "keystone_password").write_text("secret")
        settings = {
            "server": {"listen": f"127.0.0.1:{held.first}"},
            "admin": {"listen": f"127.0.0.1:{held.numbers[1]}"},
            "upstream": {"targets": ["http://127.0.0.1:9"]},
            "identity": {
                "provider": "keystone-v3",
                "url": "http://127.0.0.1:9/v3",
                "login": {
                    "username": "metaproxy",
                    "password": f"${{file:{tmp_path}/keystone_password}}",
                    "user_domain_name": "Default",
                    "project_name": "service",
                    "project_domain_name": "Default",
                },
            },
        }
        config.write_text(yaml.safe_dump(settings))
        admin = {"METAPROXY_ADMIN": f"http://127.0.0.1:{held.numbers[1]}"}
        assert run(commands("ExecStartPre", config)).returncode == 0
        server = ServerProcess(commands("ExecStart", config), tmp_path / "log")
        try:
            server.until(lambda: accepts(held.first) and accepts(held.numbers[1]))
            good = run(commands("ExecReload", config), **admin)
            config.write_text("serverr: {}\n")
            bad = run(commands("ExecReload", config), **admin)

            assert (good.returncode, bad.returncode) == (0, 1), good.stderr + bad.stderr
            assert "serverr" in bad.stderr
            assert accepts(held.first)
        finally:
            server.stop()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
def test_systemd_understands_the_units(tmp_path: Path) -> None:
    for source in UNITS.iterdir():
        # The program need not be installed here: any other stands for it.
        text = re.sub(r"/opt/metaproxy/bin/metaproxy \w+.*", "/bin/true", source.read_text())
        (tmp_path / source.name).write_text(text)

    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, sorted(tmp_path.iterdir()))],
        capture_output=True,
        text=True,
        timeout=300,
    )

    assert verified.stderr.strip() == ""
    assert verified.returncode == 0


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
def test_the_service_is_hardly_exposed() -> None:
    security = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", str(UNITS / "metaproxy.service")],
        capture_output=True,
        text=True,
        timeout=300,
    )

    found = re.search(r"Overall exposure level for metaproxy.service: ([0-9.]+)", security.stdout)
    if found is None:
        pytest.skip("this systemd-analyze cannot look at a file")
    assert float(found[1]) <= 1.5


@pytest.mark.e2e
@pytest.mark.skipif(shutil.which("systemd-socket-activate") is None, reason="there is no systemd")
def test_a_socket_that_systemd_has_bound_is_served(tmp_path: Path) -> None:
    held = HeldPorts(2)
    port, admin_port = held.numbers
    config = tmp_path / "metaproxy.yaml"
    settings = {
        "server": {"listen": "127.0.0.1:1"},  # would be refused: this socket is not ours to bind
        "admin": {"listen": f"127.0.0.1:{admin_port}"},
        "upstream": {"targets": ["http://127.0.0.1:9"]},
        "identity": {"provider": "none"},
    }
    config.write_text(yaml.safe_dump(settings))
    serve = [sys.executable, "-m", "metaproxy", "serve", "--config", str(config)]
    activate = [
        "systemd-socket-activate",
        "--listen",
        f"127.0.0.1:{port}",
        "--fdname=data",
        "-E",
        "PYTHONPATH",
    ]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [*activate, *serve],
            stdout=log,
            stderr=log,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    try:
        wait_until(lambda: connects(port), what="systemd to listen")

        answer = httpx.get(f"http://127.0.0.1:{port}/", timeout=300, trust_env=False)

        assert answer.status_code == 502, (tmp_path / "log").read_text()
        assert answer.headers["via"].startswith("1.1 metaproxy")
    finally:
        process.terminate()
        process.wait(20)
        held.close()


def connects(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
