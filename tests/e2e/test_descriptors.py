"""Few file descriptors and many clients: the operator is answered, clients are told, and all recovers."""

import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest
import yaml

from tests.e2e.processes import ServerProcess, accepts
from tests.e2e.sockets import OK, ScriptedUpstream, UpstreamConnection
from tests.ports import HeldPorts

pytestmark = pytest.mark.e2e

FEW = 256
CLIENTS = 300
REQUEST = b"GET /v2.1/servers HTTP/1.1\r\nHost: api\r\n\r\n"


class Cramped:
    """metaproxy with few descriptors."""

    def __init__(self, folder: Path, upstream: str) -> None:
        self.data, self.admin = HeldPorts(), HeldPorts()
        settings = {
            "server": {"listen": f"127.0.0.1:{self.data.first}"},
            "admin": {"listen": f"127.0.0.1:{self.admin.first}"},
            "upstream": {"targets": [upstream]},
            "identity": {"provider": "none"},
        }
        self.config = folder / "metaproxy.yaml"
        self.config.write_text(yaml.safe_dump(settings))
        serve = ["metaproxy", "serve", "--config", str(self.config)]
        self.server = ServerProcess(["tests.e2e.few_descriptors", str(FEW), *serve], folder / "log")
        self.server.until(lambda: accepts(self.admin.first))

    def asked(self, path: str) -> httpx.Response:
        """Ask the operator's listener on a new connection."""
        return httpx.get(f"http://127.0.0.1:{self.admin.first}{path}", timeout=300, trust_env=False)

    def connect(self) -> socket.socket:
        """Connect as a client."""
        return socket.create_connection(("127.0.0.1", self.data.first), timeout=300)

    def answer(self, client: socket.socket) -> bytes:
        """Send a request and return how the answer begins, b"" if there is none."""
        try:
            client.sendall(REQUEST)
            return client.recv(12)
        except OSError:
            return b""

    def logged(self, event: str) -> list[dict[str, object]]:
        """Return the lines of the event log that say ``event``."""
        lines = (json.loads(line) for line in self.server.output.splitlines() if line.startswith("{"))
        return [line for line in lines if line.get("event") == event]

    def number(self, metric: str) -> float:
        """Return the value of a metric, 0 if it is not shown."""
        found = re.search(rf"^{re.escape(metric)} (.*)$", self.asked("/metrics").text, re.MULTILINE)
        return float(found[1]) if found else 0.0


@pytest.fixture
def cramped(tmp_path: Path) -> Iterator[Cramped]:
    def answer(connection: UpstreamConnection, _: bytes) -> None:
        connection.send(OK)

    with ScriptedUpstream() as upstream:
        upstream.script = answer
        running = Cramped(tmp_path, upstream.url)
        try:
            yield running
        finally:
            running.server.stop()


def test_the_operator_and_those_who_are_connected_are_served_and_the_others_are_told(
    cramped: Cramped,
) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(cramped.connect()) for _ in range(CLIENTS)]
        first = [cramped.answer(client) for client in clients[:8]]

        assert [cramped.asked("/healthz").status_code for _ in range(5)] == [200] * 5
        assert first == [b"HTTP/1.1 200"] * 8
        refused = cramped.number('metaproxy_connections_refused_total{reason="too_many_connections"}')
        assert 0 < refused < CLIENTS
        assert cramped.number('metaproxy_descriptors{kind="open"}') < FEW
        assert cramped.logged("connections are refused")
        reload = httpx.post(
            f"http://127.0.0.1:{cramped.admin.first}/reload",
            headers={"Content-Type": "application/json"},
            timeout=300,
            trust_env=False,
        )
        assert reload.status_code == 200, reload.text


HALF = {
    "nothing": b"",
    "half a head": b"GET /healthz HTTP/1.1\r\n",
    "half a body": b"POST /cache/purge HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    b"Content-Length: 100\r\n\r\n{",
}


@pytest.mark.parametrize("half", HALF.values(), ids=HALF)
def test_connections_to_the_operators_listener_leave_room_for_clients_and_probes(
    half: bytes, cramped: Cramped
) -> None:
    with ExitStack() as stack:
        for _ in range(CLIENTS):
            with suppress(OSError):
                operator = stack.enter_context(
                    socket.create_connection(("127.0.0.1", cramped.admin.first), timeout=300)
                )
                operator.sendall(half)

        with cramped.connect() as client:
            assert cramped.answer(client) == b"HTTP/1.1 200"
        assert cramped.asked("/healthz").status_code == 200
        assert cramped.number('metaproxy_descriptors{kind="open"}') < FEW / 2
        assert cramped.logged("connections to the admin listener are closed early")


def test_a_refused_client_reads_why(cramped: Cramped) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(cramped.connect()) for _ in range(CLIENTS)]

        answer = clients[-1].recv(4096)

    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nconnection: close\r\n" in answer
    assert b"\r\nretry-after: 1\r\n" in answer
    assert b"Too many connections." in answer


def test_room_that_clients_leave_is_used_again(cramped: Cramped) -> None:
    with ExitStack() as stack:
        for _ in range(CLIENTS):
            stack.enter_context(cramped.connect())
        assert cramped.asked("/healthz").status_code == 200

    deadline = time.monotonic() + 60
    while True:
        with cramped.connect() as client:
            if cramped.answer(client) == b"HTTP/1.1 200":
                break
        assert time.monotonic() < deadline


def test_idle_connections_make_room_for_others(cramped: Cramped) -> None:
    with ExitStack() as stack:
        for _ in range(CLIENTS):
            stack.enter_context(cramped.connect())

        deadline = time.monotonic() + 60
        while True:
            with cramped.connect() as client:
                if cramped.answer(client) == b"HTTP/1.1 200":
                    break
            assert time.monotonic() < deadline


def test_what_the_limit_does_not_suffice_for_is_logged_at_the_start(cramped: Cramped) -> None:
    (line,) = cramped.logged("the limit of file descriptors does not suffice for server.max_connections")

    assert line["max_connections"] == 10_000
    assert line["descriptors"] == FEW
