"""Every configuration that is shipped starts, on ports that the kernel chooses."""

import re
import socket
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.processes import ServerProcess
from tests.unit.config.test_reference_files import ENVIRON
from tests.unit.config.test_shipped import SHIPPED, placed

pytestmark = pytest.mark.e2e


def on_free_ports(text: str, folder: Path) -> str:
    """Return the configuration ``text`` with port 0 for its listeners, and a unix socket for the operator."""
    said: dict[str, Any] = yaml.safe_load(text)
    listen = said["server"].get("listen", "127.0.0.1:0")
    addresses = [listen] if isinstance(listen, str) else listen
    said["server"]["listen"] = [re.sub(r":[0-9]+$", ":0", address) for address in addresses]
    said["admin"] = {**said.get("admin", {}), "listen": f"unix:{folder}/admin.sock"}
    return yaml.safe_dump(said)


def is_alive(path: Path) -> bool:
    """Say whether the process that listens at ``path`` answers /healthz."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        try:
            client.connect(str(path))
            client.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            return client.recv(64).startswith(b"HTTP/1.1 200 ")
        except OSError:
            return False


@pytest.mark.parametrize("text", SHIPPED.values(), ids=SHIPPED)
def test_a_shipped_configuration_starts_and_ends(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    folder = tmp_path_factory.mktemp("s")
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    file = folder / "metaproxy.yaml"
    file.write_text(on_free_ports(placed(text, folder), folder))
    server = ServerProcess(["metaproxy", "serve", "--config", str(file)], folder / "log")
    try:
        server.until(lambda: is_alive(folder / "admin.sock"))
        server.terminate()
        assert server.wait() == 0, server.output
    finally:
        server.stop()
