"""The end of a process by signals, and what systemd is told."""

import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from metaproxy.demo.world import ALICE
from tests.e2e.deployment import RED_API, Sections, running_proxy
from tests.e2e.processes import ServerProcess, accepts, children, gone, wait_until
from tests.e2e.sockets import ScriptedUpstream, UpstreamConnection, WireClient
from tests.ports import HeldPorts

pytestmark = pytest.mark.e2e

NO_SERVER = "http://127.0.0.1:9"
GRACE = {"shutdown_grace": "300s"}
ONE: Sections = {"server": GRACE}
TWO: Sections = {"server": GRACE | {"workers": 2}}


@pytest.mark.parametrize("sections", [ONE, TWO], ids=["alone", "two workers"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_what_the_first_waits_for(
    tmp_path: Path, identity: str, sections: Sections, number: signal.Signals
) -> None:
    never = threading.Event()

    def hang(_: UpstreamConnection, __: bytes) -> None:
        never.wait(60)

    with (
        ScriptedUpstream(hang) as upstream,
        running_proxy(tmp_path, upstream=upstream.url, identity=identity, sections=sections) as proxy,
        WireClient(proxy.port) as client,
    ):
        process = proxy.server.process
        workers = children(process.pid)
        client.send(f"GET {RED_API}/servers HTTP/1.1", "Host: compute", f"X-Auth-Token: {ALICE.token}")
        wait_until(lambda: any(b"/servers" in head for head in upstream.heads), what="the request")
        process.send_signal(number)
        wait_until(lambda: "draining" in proxy.server.output, what="the drain")

        def is_over() -> bool:
            if process.poll() is None:
                process.send_signal(number)
            never.wait(0.3)
            return process.poll() is not None

        wait_until(is_over, what="the end")
        never.set()
        assert all(gone(worker) for worker in workers)
        assert "a second signal came" in proxy.server.output


@pytest.mark.parametrize("sections", [{}, TWO], ids=["alone", "two workers"])
def test_it_ends_when_warnings_are_errors(
    tmp_path: Path, identity: str, compute: str, sections: Sections, monkeypatch: pytest.MonkeyPatch
) -> None:
    # uvloop warns of each listener that is open when its loop closes. Raised as an error, the warning keeps
    # the loop from closing, and the process from ending.
    monkeypatch.setenv("PYTHONWARNINGS", "error::ResourceWarning")
    with running_proxy(tmp_path, upstream=compute, identity=identity, sections=sections) as proxy:
        wait_until(lambda: "serving" in proxy.server.output, what="the start")
        proxy.server.terminate()

        assert proxy.server.wait() == 0
        assert "exception" not in proxy.server.output


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "1000000")
        yield receiver


def until(systemd: socket.socket, state: str) -> list[str]:
    """What systemd is told, up to ``state``; signs of life left out unless one is meant."""
    told: list[str] = []
    while state not in told:
        message = systemd.recv(4096).decode().partition("\n")[0]
        if message == state or not message.startswith("WATCHDOG"):
            told.append(message)
    return told


@pytest.mark.parametrize("sections", [ONE, TWO], ids=["alone", "two workers"])
def test_systemd_is_told_of_start_reload_life_and_end(
    tmp_path: Path, systemd: socket.socket, sections: Sections
) -> None:
    with running_proxy(tmp_path, upstream=NO_SERVER, identity=NO_SERVER, sections=sections) as proxy:
        started = until(systemd, "READY=1")
        proxy.server.process.send_signal(signal.SIGHUP)
        reloaded = until(systemd, "READY=1")
        until(systemd, "WATCHDOG=1")
        proxy.server.terminate()
        ended = until(systemd, "STOPPING=1")

        assert proxy.server.wait() == 0
    assert (started, reloaded, ended) == (["READY=1"], ["RELOADING=1", "READY=1"], ["STOPPING=1"])


def _holds_back_sighup(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    return any(int(line.split()[1], 16) & 1 for line in status.splitlines() if line.startswith("SigBlk"))


def test_a_sighup_before_the_server_can_reload_does_not_end_it(tmp_path: Path) -> None:
    admin = HeldPorts()
    config = tmp_path / "metaproxy.yaml"
    config.write_text(
        f"server: {{listen: 127.0.0.1:0}}\nadmin: {{listen: 127.0.0.1:{admin.first}}}\n"
        "upstream: {targets: [http://127.0.0.1:9]}\nidentity: {provider: none}\n"
    )
    server = ServerProcess(["metaproxy", "serve", "--config", str(config)], tmp_path / "log")
    try:
        server.until(lambda: _holds_back_sighup(server.process.pid))

        server.process.send_signal(signal.SIGHUP)

        server.until(lambda: accepts(admin.first))
        server.until(lambda: '"configuration reloaded"' in server.output)
        server.terminate()
        assert server.wait() == 0
    finally:
        server.stop()
