"""HAProxy and nginx with the files of deploy/front, in front of replicas of a test's own."""

import json
import re
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.deploy.files import DEPLOY
from tests.e2e.deployment import Proxy
from tests.e2e.processes import accepts, wait_until
from tests.ports import HeldPorts
from tests.unit.forward.certificates import Issued

ADDRESSES = ("10.0.0.11", "10.0.0.12")
PATIENT = """timeout connect 2s
    timeout check 60s"""


def snippet(name: str, ports: Sequence[tuple[int, int]], port: int, issued: Issued) -> str:
    """A file of deploy/front with data and admin ports of two replicas, and this certificate."""
    text = (DEPLOY / "front" / name).read_text()
    for address, (data, admin) in zip(ADDRESSES, ports, strict=True):
        assert f"{address}:8774" in text
        text = text.replace(f"{address}:8774 check port 9774", f"127.0.0.1:{data} check port {admin}")
        text = text.replace(f"{address}:8774", f"127.0.0.1:{data}")
    text = re.sub(r"/etc/\w+/tls/compute\.pem", str(issued.certificate), text)
    text = re.sub(r"/etc/\w+/tls/compute\.key", str(issued.key), text)
    # Of the loopback address alone the port is ours: at another one it may be in use.
    return re.sub(r"(listen |bind ):?443", rf"\g<1>127.0.0.1:{port}", text)


def ports_of(*proxies: Proxy) -> list[tuple[int, int]]:
    """Data and admin port of each."""
    return [(proxy.port, proxy.admin_port) for proxy in proxies]


@contextmanager
def nginx(home: Path, ports: Sequence[tuple[int, int]], issued: Issued) -> Iterator[str]:
    """Run nginx with deploy/front/nginx.conf; yield its URL."""
    with HeldPorts() as held:
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = "\n".join(f"{kind}_temp_path {home}/{kind};" for kind in kinds)
        inner = snippet("nginx.conf", ports, held.first, issued)
        configuration = home / "nginx.conf"
        configuration.write_text(
            f"daemon off; pid {home}/pid; error_log {home}/error.log info;\n"
            f"events {{}}\nhttp {{\naccess_log off;\n{temporary}\n{inner}\n}}\n"
        )
        command = ["nginx", "-e", str(home / "error.log"), "-p", str(home), "-c", str(configuration)]
        with running(command, home, held.first):
            yield f"https://127.0.0.1:{held.first}"


class HAProxy:
    """A running HAProxy: where it listens, and its runtime API."""

    def __init__(self, url: str, control: Path) -> None:
        self.url = url
        self._control = control

    def say(self, command: str) -> str:
        """Send a command to the runtime API, and return what it answers."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(20)
            client.connect(str(self._control))
            client.sendall(command.encode() + b"\n")
            return b"".join(iter(lambda: client.recv(65536), b"")).decode()

    def state(self, server: str) -> tuple[str, str]:
        """Return the status of a server (``UP``, ``DOWN`` …) and the answer of its last health check."""
        (fields,) = (
            {field["field"]["name"]: field["value"]["value"] for field in row}
            for row in json.loads(self.say("show stat json"))
            if any(field["value"]["value"] == server for field in row)
        )
        return fields["status"].split()[0], f"{fields.get('check_status', '')}/{fields.get('check_code', '')}"


@contextmanager
def haproxy(home: Path, ports: Sequence[tuple[int, int]], issued: Issued) -> Iterator[HAProxy]:
    """Run HAProxy with deploy/front/haproxy.cfg. ``home`` has a short path, because a socket lies in it."""
    both = home / "both.pem"
    both.write_text(issued.certificate.read_text() + issued.key.read_text())
    with HeldPorts() as held:
        text = snippet("haproxy.cfg", ports, held.first, Issued(both, both))
        control = home / "admin.sock"
        assert "/run/haproxy/admin.sock" in text
        text = text.replace("/run/haproxy/admin.sock", str(control))
        # The clock of the checks is not at stake: ask often, and wait long, because the machine may be busy.
        for shipped, here in (("inter 2s", "inter 100ms"), ("timeout connect 2s", PATIENT)):
            assert shipped in text
            text = text.replace(shipped, here)
        configuration = home / "haproxy.cfg"
        configuration.write_text(text)
        with running(["haproxy", "-db", "-f", str(configuration)], home, held.first):
            wait_until(control.exists, what="the socket of HAProxy's runtime API")
            yield HAProxy(f"https://127.0.0.1:{held.first}", control)


@contextmanager
def running(command: Sequence[str], home: Path, port: int) -> Iterator[None]:
    """Run a server until the end of the block; it accepts connections when the block begins."""
    with (home / "output").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        wait_until(lambda: accepts(port) or process.poll() is not None, what=command[0])
        assert process.poll() is None, "\n".join(
            file.read_text() for file in (home / "output", *home.glob("*.log"))
        )
        yield
    finally:
        process.terminate()
        process.wait(20)
