"""Slow and greedy clients of a real proxy: each bound closes the connection that exceeds it."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.deployment import Proxy, Sections, running_proxy
from tests.e2e.hostile import CHUNKED, post, request
from tests.e2e.processes import wait_until
from tests.e2e.sockets import ScriptedUpstream, UpstreamConnection, WireClient

pytestmark = pytest.mark.e2e

PATIENCE_SECONDS = 15

QUICK: Sections = {
    "server": {
        "header_timeout": "500ms",
        "body_timeout": "500ms",
        "idle_timeout": "1s",
        "max_connections_per_address": 3,
    }
}


@pytest.fixture(scope="module")
def quick(folder: Path, scripted: ScriptedUpstream, identity: str) -> Iterator[Proxy]:
    with running_proxy(folder / "quick", upstream=scripted.url, identity=identity, sections=QUICK) as running:
        yield running


@pytest.fixture
def client(quick: Proxy) -> Iterator[WireClient]:
    with WireClient(quick.port) as connection:
        yield connection


def rest(client: WireClient) -> bytes:
    answer = b""
    while received := client.socket.recv(65536):
        answer += received
    return answer


@pytest.mark.parametrize(
    "slow",
    [b"G", b"GET /v2.1/ HTTP/1.1\r\nHost: a", request() + b"GET /"],
    ids=["line", "head", "second head"],
)
def test_a_head_that_never_ends_is_refused(
    client: WireClient, upstream: ScriptedUpstream, slow: bytes
) -> None:
    client.socket.sendall(slow)
    assert rest(client).rpartition(b"HTTP/1.1 ")[2].startswith(b"408 ")


@pytest.mark.parametrize(
    "slow",
    [post(b"Content-Length: 9", body=b"abc"), post(CHUNKED, body=b"9\r\nabc")],
    ids=["length", "chunk"],
)
def test_a_body_that_never_ends_is_refused_and_the_upstream_let_go(
    client: WireClient, upstream: ScriptedUpstream, slow: bytes
) -> None:
    ends: list[bytes] = []
    upstream.script = lambda connection, _: ends.append(connection.read_until(b"never"))
    client.socket.sendall(slow)
    assert rest(client).startswith(b"HTTP/1.1 408 ")
    assert ends in ([], [b""])


def test_an_idle_connection_is_closed(client: WireClient, upstream: ScriptedUpstream) -> None:
    client.socket.sendall(request())
    assert client.answer().status == 200
    assert client.socket.recv(1) == b""


def test_a_client_that_never_reads_is_cut_off_and_the_upstream_let_go(
    client: WireClient, upstream: ScriptedUpstream
) -> None:
    gone = threading.Event()

    def much(connection: UpstreamConnection, _: bytes) -> None:
        try:
            while True:
                connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 90000000000\r\n\r\n", b"a" * 100_000)
        except ConnectionError:
            gone.set()

    upstream.script = much
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.socket.sendall(request())
    assert gone.wait(PATIENCE_SECONDS)


def test_a_client_that_closes_its_half_is_taken_to_have_gone(
    client: WireClient, upstream: ScriptedUpstream
) -> None:
    gone = threading.Event()

    def until_gone(connection: UpstreamConnection, _: bytes) -> None:
        if not connection.read_head():
            gone.set()

    upstream.script = until_gone
    client.socket.sendall(request())
    wait_until(lambda: bool(upstream.heads), what="the request at the upstream")
    client.socket.shutdown(socket.SHUT_WR)
    assert gone.wait(PATIENCE_SECONDS)
    assert rest(client) == b""


def test_one_connection_of_an_address_too_many_is_refused(
    quick: Proxy, client: WireClient, upstream: ScriptedUpstream
) -> None:
    with WireClient(quick.port) as second, WireClient(quick.port) as third, WireClient(quick.port) as fourth:
        answer = fourth.answer()
        assert answer.status == 503
        assert answer.all("Retry-After") == ["1"]
        for allowed in (client, second, third):
            allowed.socket.sendall(request())
            assert allowed.answer().status == 200
