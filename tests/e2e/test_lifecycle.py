"""How the server starts, how it does not, and how it leaves."""

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from metaproxy.demo.world import ALICE
from metaproxy.version import __version__
from tests.e2e.deployment import RED_API, running_proxy
from tests.e2e.processes import ROOT, accepts, wait_until
from tests.e2e.sockets import OK, ScriptedUpstream, UpstreamConnection, WireClient

pytestmark = pytest.mark.e2e

MINIMAL = """\
server: {{listen: "127.0.0.1:{port}"}}
admin: {{listen: "127.0.0.1:0"}}
upstream: {{targets: ["http://127.0.0.1:9"]}}
identity:
  provider: static
  tokens: [{{token: {token}, user: {{id: u, name: u}}, project: {{id: p, name: p}}, roles: []}}]
"""


def serve(folder: Path, config: str) -> "subprocess.CompletedProcess[str]":
    """Run the server with a configuration that it cannot start with."""
    file = folder / "metaproxy.yaml"
    file.write_text(config)
    return subprocess.run(
        [sys.executable, "-m", "metaproxy", "serve", "--config", str(file)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
        check=False,
    )


def only_line(run: "subprocess.CompletedProcess[str]") -> str:
    """The one line that a failed start has written."""
    assert run.returncode != 0
    (line,) = (run.stdout + run.stderr).strip().splitlines()
    return line


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_an_unknown_key_is_named_with_file_and_line(tmp_path: Path) -> None:
    line = only_line(serve(tmp_path, MINIMAL.format(port=0, token="t") + "serverr: {}\n"))
    assert "metaproxy.yaml:7" in line
    assert "serverr" in line


def test_a_port_that_is_taken_is_named(tmp_path: Path, taken_port: int) -> None:
    run = serve(tmp_path, MINIMAL.format(port=taken_port, token="t"))
    assert run.returncode == 1
    # Before it come the warnings that every start with this configuration logs.
    assert f"127.0.0.1:{taken_port}: address already in use" in run.stderr.splitlines()[-1]


def test_a_secret_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    line = only_line(serve(tmp_path, MINIMAL.format(port=0, token='"${file:/nowhere/secret}"')))
    assert "/nowhere/secret" in line


def test_a_configuration_that_is_not_there_is_named(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "metaproxy", "serve", "--config", str(tmp_path / "missing.yaml")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
        check=False,
    )
    assert run.returncode != 0
    assert "missing.yaml" in run.stderr
    assert "Traceback" not in run.stderr


def test_the_version_is_told() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "metaproxy", "--version"], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert run.stdout.strip() == f"metaproxy {__version__}"


def test_at_sigterm_it_accepts_no_more_says_so_finishes_what_runs_and_leaves(
    tmp_path: Path, identity: str
) -> None:
    may_answer = threading.Event()

    def when_told(connection: UpstreamConnection, _: bytes) -> None:
        assert may_answer.wait(20)
        connection.send(OK)

    with (
        ScriptedUpstream(when_told) as upstream,
        running_proxy(tmp_path, upstream=upstream.url, identity=identity) as proxy,
        WireClient(proxy.port) as client,
    ):
        client.send(f"GET {RED_API}/servers HTTP/1.1", "Host: compute", f"X-Auth-Token: {ALICE.token}")
        wait_until(lambda: bool(upstream.heads), what="the request at the upstream")
        proxy.server.terminate()
        wait_until(lambda: not accepts(proxy.port), what="the listener to close")
        ready = httpx.get(f"{proxy.admin_url}/readyz", trust_env=False)
        may_answer.set()
        assert client.answer().body == b"ok"
        assert proxy.server.wait() == 0
    assert ready.status_code == 503
    assert ready.json()["checks"]["server"] == {"well": False, "says": "draining"}


def test_it_says_what_it_does_when_it_starts(tmp_path: Path, compute: str, identity: str) -> None:
    console = {"logging": {"format": "console"}}
    with running_proxy(tmp_path, upstream=compute, identity=identity, sections=console) as proxy:
        for fact in (f"127.0.0.1:{proxy.port}", f"127.0.0.1:{proxy.admin_port}", compute, "/metadata/{key}"):
            assert fact in proxy.server.output


def test_tokens_and_passwords_stand_in_no_log_line(tmp_path: Path, compute: str, identity: str) -> None:
    verbose = {"logging": {"level": "debug"}}
    with (
        running_proxy(tmp_path, upstream=compute, identity=identity, sections=verbose) as proxy,
        proxy.client(ALICE) as alice,
    ):
        assert alice.get(f"{RED_API}/images/detail").status_code == 200
        proxy.server.terminate()
        assert proxy.server.wait() == 0
        assert "images/detail" in proxy.server.output
        assert ALICE.token not in proxy.server.output
        assert "metaproxy-password" not in proxy.server.output
