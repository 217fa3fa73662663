"""Slow and greedy clients of a real proxy: each bound closes the connection that exceeds it."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.deployment import Proxy, Sections, running_proxy
from tests.e2e.hostile import CHUNKED, post, request
from tests.e2e.hostile_clients import BEHAVIOURS, table
from tests.e2e.processes import ROOT, wait_until
from tests.e2e.sockets import OK, ScriptedUpstream, UpstreamConnection, WireClient

pytestmark = pytest.mark.e2e

PATIENCE_SECONDS = 45

QUICK: Sections = {
    "server": {
        "header_timeout": "500ms",
        "body_timeout": "500ms",
        "idle_timeout": "1s",
        "max_connections_per_address": 3,
    },
    "limits": {"absolute": {"request_body": "64KiB"}},
}
MOST_PIPELINED = 18
"""One is answered and sixteen wait, when the next is the last."""
DRIP_SECONDS = 0.02
UPLOAD = b"a" * 4 * 1024 * 1024
"""More than the kernel keeps for a reader that is slow, less than is read and dropped."""


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


def drip(client: WireClient) -> bytes:
    """Send octet after octet until something comes; return all that comes."""
    client.socket.settimeout(DRIP_SECONDS)
    while True:
        client.socket.sendall(b"a")
        try:
            begin = client.socket.recv(65536)
        except TimeoutError:
            continue  # nothing yet
        client.socket.settimeout(PATIENCE_SECONDS)
        return begin + rest(client)


def test_a_head_that_drips_is_refused(client: WireClient, upstream: ScriptedUpstream) -> None:
    client.socket.sendall(b"GET /")
    assert drip(client).startswith(b"HTTP/1.1 408 ")
    assert upstream.heads == []


def test_a_body_that_drips_is_refused_and_the_upstream_let_go(
    client: WireClient, upstream: ScriptedUpstream
) -> None:
    ends: list[bytes] = []
    upstream.script = lambda connection, _: ends.append(connection.read_until(b"never"))
    client.socket.sendall(post(b"Content-Length: 60000", body=b""))
    assert drip(client).startswith(b"HTTP/1.1 408 ")
    wait_until(lambda: len(ends) == len(upstream.heads), what="the end of the request at the upstream")
    assert ends in ([], [b""])


def send_all(client: WireClient, *sent: bytes) -> bytes:
    """Send everything before anything is read; return all that comes."""
    for part in sent:
        client.socket.sendall(part)
    return rest(client)


def test_an_upload_that_is_too_large_is_told_so_though_all_of_it_is_sent_first(
    client: WireClient, upstream: ScriptedUpstream
) -> None:
    answer = send_all(client, post(b"Content-Length: %d" % len(UPLOAD), body=b""), UPLOAD)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in answer
    assert upstream.heads == []


def test_an_upload_that_gets_too_large_is_told_so_though_all_of_it_is_sent_first(
    client: WireClient, upstream: ScriptedUpstream
) -> None:
    ends: list[bytes] = []
    upstream.script = lambda connection, _: ends.append(connection.read_until(b"never"))
    answer = send_all(client, post(CHUNKED, body=b""), b"%x\r\n" % len(UPLOAD), UPLOAD)
    assert answer.startswith(b"HTTP/1.1 413 ")
    wait_until(lambda: len(ends) == len(upstream.heads), what="the end of the request at the upstream")
    assert ends in ([], [b""])


def test_a_client_that_goes_on_sending_reads_why_it_is_refused(
    client: WireClient, upstream: ScriptedUpstream
) -> None:
    assert send_all(client, b"nonsense\r\n\r\n", UPLOAD).startswith(b"HTTP/1.1 400 ")
    assert upstream.heads == []


def test_a_client_that_never_stops_sending_is_reset(client: WireClient, upstream: ScriptedUpstream) -> None:
    with pytest.raises(ConnectionError):
        send_all(client, b"nonsense\r\n\r\n", *[UPLOAD] * 64)
    assert upstream.heads == []


def test_a_body_that_is_too_large_is_not_asked_for(client: WireClient, upstream: ScriptedUpstream) -> None:
    client.socket.sendall(post(b"Expect: 100-continue", b"Content-Length: 70000", body=b""))
    assert rest(client).startswith(b"HTTP/1.1 413 ")
    assert upstream.heads == []


def test_a_body_that_is_expected_is_asked_for(client: WireClient, upstream: ScriptedUpstream) -> None:
    bodies: list[bytes] = []

    def read(connection: UpstreamConnection, _: bytes) -> None:
        bodies.append(connection.read_exactly(3))
        connection.send(OK)

    upstream.script = read
    client.socket.sendall(post(b"Expect: 100-continue", b"Content-Length: 3", body=b""))
    asked = b"HTTP/1.1 100 Continue\r\n\r\n"
    assert client.socket.recv(len(asked), socket.MSG_WAITALL) == asked
    client.socket.sendall(b"abc")
    assert client.answer().status == 200
    assert bodies == [b"abc"]


def test_only_so_many_pipelined_requests_are_taken(client: WireClient, upstream: ScriptedUpstream) -> None:
    answer = send_all(client, request() * 10_000)
    count = answer.count(b"HTTP/1.1 200 OK")
    assert 1 <= count <= MOST_PIPELINED
    assert answer.count(b"HTTP/1.1 ") == count == len(upstream.heads)
    assert b"connection: close" in answer.rpartition(b"HTTP/1.1 ")[2]
    assert answer.count(b"connection: close") == 1


def test_a_refused_request_waits_for_the_answers_before_it(
    client: WireClient, upstream: ScriptedUpstream
) -> None:
    answer = send_all(client, request() * 3 + b"nonsense\r\n\r\n")
    assert [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]] == [b"200"] * 3 + [b"400"]
    assert len(upstream.heads) == 3


def never_answers(upstream: ScriptedUpstream) -> threading.Event:
    """Let ``upstream`` wait in place of an answer; return what is set when its connection is closed."""
    gone = threading.Event()

    def until_gone(connection: UpstreamConnection, _: bytes) -> None:
        if not connection.read_head():
            gone.set()

    upstream.script = until_gone
    return gone


def test_a_client_that_pipelines_and_leaves_lets_the_upstream_go(
    client: WireClient, upstream: ScriptedUpstream
) -> None:
    gone = never_answers(upstream)
    client.socket.sendall(request() * 3)
    wait_until(lambda: bool(upstream.heads), what="the first request at the upstream")
    client.socket.close()
    assert gone.wait(PATIENCE_SECONDS)
    assert len(upstream.heads) == 1


def test_a_connection_that_says_nothing_is_closed(client: WireClient, upstream: ScriptedUpstream) -> None:
    assert rest(client) == b""


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
    gone = never_answers(upstream)
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


def test_the_published_table_of_clients_is_this_one_and_every_row_has_its_test() -> None:
    assert table() in (ROOT / "SECURITY.md").read_text()
    assert {case.test for case in BEHAVIOURS} <= globals().keys()
