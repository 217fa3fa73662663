"""What the upstream gets and what comes back from it, byte for byte."""

import threading
from collections.abc import Iterator
from http.client import IncompleteRead
from pathlib import Path

import pytest

from metaproxy.demo.world import ALICE
from metaproxy.version import __version__
from tests.e2e.deployment import RED_API, Proxy, running_proxy
from tests.e2e.processes import wait_until
from tests.e2e.sockets import OK, ScriptedUpstream, UpstreamConnection, WireClient

pytestmark = pytest.mark.e2e

VIA = f"1.1 metaproxy (metaproxy/{__version__})"
SERVERS = f"{RED_API}/servers"
PATIENCE_SECONDS = 60.0


@pytest.fixture(scope="module")
def forwarding(folder: Path, scripted: ScriptedUpstream, identity: str) -> Iterator[Proxy]:
    """A proxy in front of the scripted upstream."""
    with running_proxy(folder / "forwarding", upstream=scripted.url, identity=identity) as running:
        yield running


@pytest.fixture
def client(forwarding: Proxy) -> Iterator[WireClient]:
    with WireClient(forwarding.port) as connection:
        yield connection


def head(method: str, target: str, *fields: str) -> tuple[str, ...]:
    """The lines of a request of Alice's."""
    return (f"{method} {target} HTTP/1.1", "Host: compute.example", f"X-Auth-Token: {ALICE.token}", *fields)


def fields(request: bytes) -> list[tuple[str, str]]:
    """The header fields of a request's head, names in lower case."""
    lines = request.decode("latin-1").split("\r\n")[1:-2]
    return [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]


@pytest.mark.parametrize(
    "target",
    [
        f"{SERVERS}/a%20b%7Ec~d",
        f"{SERVERS}/detail?name=a%2Fb&&x=%e4+%20&name=&=",
        f"{SERVERS}/x=1,2/@me:$!*'()",
    ],
)
def test_path_and_query_reach_the_upstream_as_they_came(
    client: WireClient, upstream: ScriptedUpstream, target: str
) -> None:
    client.send(*head("GET", target))
    assert client.answer().status == 200
    assert upstream.heads[0].split(b"\r\n")[0] == f"GET {target} HTTP/1.1".encode()


def test_the_upstream_learns_who_asks_and_what_the_client_said_of_it_does_not_pass(
    client: WireClient, upstream: ScriptedUpstream
) -> None:
    client.send(
        *head("GET", SERVERS, "X-Roles: admin", "X-Project-Id: other", "X-Identity-Status: Confirmed")
    )
    client.answer()
    told = fields(upstream.heads[0])
    assert [value for name, value in told if name == "x-project-id"] == [ALICE.project.id]
    assert [value for name, value in told if name == "x-roles"] == [",".join(ALICE.roles)]
    assert [value for name, value in told if name == "x-identity-status"] == ["Confirmed"]


def test_the_upstream_learns_the_way_of_a_request(client: WireClient, upstream: ScriptedUpstream) -> None:
    client.send(*head("GET", SERVERS, "Via: 1.0 fred"))
    client.answer()
    told = dict(fields(upstream.heads[0]))
    assert told["host"] == "compute.example"
    assert told["x-forwarded-for"] == "127.0.0.1"
    assert "for=127.0.0.1" in told["forwarded"]
    via = [value for name, value in fields(upstream.heads[0]) if name == "via"]
    assert ", ".join(via) == f"1.0 fred, {VIA}"


def test_hop_by_hop_fields_end_here(client: WireClient, upstream: ScriptedUpstream) -> None:
    client.send(
        *head("GET", SERVERS, "Connection: X-Mine, keep-alive", "X-Mine: 1", "TE: trailers", "X-Kept: 1")
    )
    client.answer()
    names = {name for name, _ in fields(upstream.heads[0])}
    assert names.isdisjoint({"x-mine", "te", "keep-alive"})
    assert "x-kept" in names


def test_the_answers_fields_keep_their_order_and_duplicates(
    client: WireClient, upstream: ScriptedUpstream
) -> None:
    upstream.script = lambda connection, _: connection.send(
        b"HTTP/1.1 299 Peculiar\r\nSet-Cookie: a=1\r\nVia: 1.0 nova\r\nX-Between: b\r\nSet-Cookie: a=2\r\n"
        b"Keep-Alive: timeout=5\r\nX-Compute-Request-Id: req-upstream\r\nContent-Length: 0\r\n\r\n"
    )
    client.send(*head("GET", SERVERS))
    answer = client.answer()
    assert answer.status == 299
    kept = [(name.lower(), value) for name, value in answer.headers]
    shown = [pair for pair in kept if pair[0] in ("set-cookie", "x-between")]
    assert shown == [("set-cookie", "a=1"), ("x-between", "b"), ("set-cookie", "a=2")]
    assert ", ".join(answer.all("Via")) == f"1.0 nova, {VIA}"
    assert answer.all("Keep-Alive") == []
    assert len(answer.all("X-Compute-Request-Id")) == 1
    assert answer.all("X-Compute-Request-Id") != ["req-upstream"]


def test_an_answer_reaches_the_client_while_the_upstream_still_writes_it(
    client: WireClient, upstream: ScriptedUpstream
) -> None:
    first_part_read = threading.Event()

    def slowly(connection: UpstreamConnection, _: bytes) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
        assert first_part_read.wait(PATIENCE_SECONDS)
        connection.send(b"other")

    upstream.script = slowly
    client.send(*head("GET", SERVERS))
    response = client.start()
    assert response.read(5) == b"first"
    first_part_read.set()
    assert response.read() == b"other"


@pytest.mark.parametrize(
    ("framing", "parts"),
    [
        ("Content-Length: 10", (b"first", b"other")),
        ("Transfer-Encoding: chunked", (b"5\r\nfirst\r\n", b"5\r\nother\r\n0\r\n\r\n")),
    ],
)
def test_a_body_reaches_the_upstream_while_the_client_still_writes_it(
    client: WireClient, upstream: ScriptedUpstream, framing: str, parts: tuple[bytes, bytes]
) -> None:
    first_part_read = threading.Event()
    received = []

    def read_in_parts(connection: UpstreamConnection, _: bytes) -> None:
        received.append(connection.read_until(b"first"))
        first_part_read.set()
        received.append(connection.read_until(b"other"))
        if "chunked" in framing:
            connection.read_until(b"0\r\n\r\n")
        connection.send(OK)

    upstream.script = read_in_parts
    client.send(*head("POST", SERVERS, framing), body=parts[0])
    assert first_part_read.wait(PATIENCE_SECONDS)
    client.socket.sendall(parts[1])
    assert client.answer().status == 200
    assert b"first" in received[0]
    assert b"other" in received[1]


def test_a_large_answer_comes_through_whole(client: WireClient, upstream: ScriptedUpstream) -> None:
    body = bytes(range(256)) * 8192
    upstream.script = lambda connection, _: connection.send(
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body), body
    )
    client.send(*head("GET", SERVERS))
    assert client.answer().body == body


def test_an_answer_in_chunks_comes_through_whole(client: WireClient, upstream: ScriptedUpstream) -> None:
    upstream.script = lambda connection, _: connection.send(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    )
    client.send(*head("GET", SERVERS))
    assert client.answer().body == b"abcde"


@pytest.mark.parametrize(
    "nonsense",
    [b"SSH-2.0-OpenSSH_9.2\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n", b""],
)
def test_an_upstream_that_speaks_nonsense_is_a_bad_gateway(
    client: WireClient, upstream: ScriptedUpstream, nonsense: bytes
) -> None:
    def speak(connection: UpstreamConnection, _: bytes) -> None:
        connection.send(nonsense)
        connection.close()

    upstream.script = speak
    client.send(*head("POST", SERVERS, "Content-Length: 0"))
    answer = client.answer()
    assert answer.status == 502
    assert b"badGateway" in answer.body


def test_half_an_answer_never_looks_like_a_whole_one(client: WireClient, upstream: ScriptedUpstream) -> None:
    def half(connection: UpstreamConnection, _: bytes) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        connection.close()

    upstream.script = half
    client.send(*head("GET", SERVERS))
    with pytest.raises((IncompleteRead, ConnectionResetError)):
        client.answer()


def test_a_client_that_hangs_up_lets_the_upstream_go(forwarding: Proxy, upstream: ScriptedUpstream) -> None:
    gone = threading.Event()

    def until_gone(connection: UpstreamConnection, _: bytes) -> None:
        if not connection.read_head():
            gone.set()

    upstream.script = until_gone
    with WireClient(forwarding.port) as client:
        client.send(*head("GET", f"{SERVERS}/slow"))
        wait_until(lambda: bool(upstream.heads), what="the request at the upstream")
    assert gone.wait(PATIENCE_SECONDS)
