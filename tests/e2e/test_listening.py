"""A process that listens on both families of addresses, as its log says."""

import json
import socket
from pathlib import Path

import pytest
import yaml

from tests.e2e.processes import ServerProcess
from tests.ports import HeldPorts

pytestmark = pytest.mark.e2e


def answers(host: str, port: int) -> bool:
    """Say whether a process answers HTTP there."""
    try:
        with socket.create_connection((host, port), timeout=300) as client:
            client.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return client.recv(5) == b"HTTP/"
    except OSError:
        return False


def has_ipv6() -> bool:
    """Say whether this machine has IPv6 on its loopback interface."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_clients_and_the_operator_come_in_by_both_families(tmp_path: Path) -> None:
    data, admin = HeldPorts(), HeldPorts()
    ports = {"server": data.first, "admin": admin.first}
    settings: dict[str, object] = {
        "server": {"listen": [f"0.0.0.0:{data.first}", f"[::]:{data.first}"]},
        "admin": {"listen": [f"127.0.0.1:{admin.first}", f"[::1]:{admin.first}"]},
        "upstream": {"targets": ["http://127.0.0.1:9"]},
        "identity": {"provider": "none"},
    }
    file = tmp_path / "metaproxy.yaml"
    file.write_text(yaml.safe_dump(settings))
    server = ServerProcess(["metaproxy", "serve", "--config", str(file)], tmp_path / "log")
    try:
        for port in ports.values():
            server.until(lambda port=port: answers("127.0.0.1", port) and answers("::1", port))  # type: ignore[misc]
        starting = json.loads(next(line for line in server.output.splitlines() if '"starting"' in line))
    finally:
        server.stop()

    assert starting["listening"] == [f"http://0.0.0.0:{data.first}", f"http://[::]:{data.first}"]
    assert starting["admin"] == [f"http://127.0.0.1:{admin.first}", f"http://[::1]:{admin.first}"]
