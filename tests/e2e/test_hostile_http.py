"""Malformed HTTP over real sockets: refused, the connection closed, nothing of it at the upstream."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.deployment import Proxy, Sections, running_proxy
from tests.e2e.hostile import SECTIONS, SERVERS, Case, Seen, request, table
from tests.e2e.processes import ROOT, wait_until
from tests.e2e.sockets import OK, ScriptedUpstream, UpstreamConnection, WireClient

pytestmark = pytest.mark.e2e

SHORT: Sections = {
    "server": {"header_timeout": "1s", "body_timeout": "1s"},
    "limits": {"absolute": {"request_body": "1MiB"}},
}
MARKER = b"GET /v2.1/ HTTP/1.1"


class CountingUpstream(ScriptedUpstream):
    """Keeps what came whole, apart from what only began."""

    def __init__(self) -> None:
        super().__init__(self._read_whole)
        self.whole: list[bytes] = []

    def _read_whole(self, connection: UpstreamConnection, head: bytes) -> None:
        body = b""
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                body = connection.read_exactly(int(line.partition(b":")[2]))
            elif line.startswith(b"transfer-encoding:"):
                body = connection.read_until(b"0\r\n\r\n")
                if not body:
                    return
        self.whole.append(head + body)
        connection.send(OK)


@pytest.fixture(scope="module")
def upstream() -> Iterator[CountingUpstream]:
    with CountingUpstream() as running:
        yield running


@pytest.fixture(scope="module")
def strict(folder: Path, upstream: CountingUpstream, identity: str) -> Iterator[Proxy]:
    with running_proxy(
        folder / "strict", upstream=upstream.url, identity=identity, sections=SHORT
    ) as running:
        yield running


def until_closed(client: socket.socket) -> bytes:
    answer = b""
    while received := client.recv(65536):
        answer += received
    return answer


def seen_by(upstream: CountingUpstream, strict: Proxy) -> tuple[list[bytes], list[bytes]]:
    """What the upstream has seen: requests that began and whole ones, now that another went after them."""
    with WireClient(strict.port) as client:
        client.send(MARKER.decode(), "Host: marker.example")
        assert client.answer().status == 200
    begun = [head for head in upstream.heads if not head.startswith(MARKER)]
    return begun, [whole for whole in upstream.whole if not whole.startswith(MARKER)]


@pytest.mark.parametrize("case", [case for cases in SECTIONS.values() for case in cases], ids=str)
def test_the_answer_the_connection_and_the_upstream_are_as_the_table_says(
    case: Case, strict: Proxy, upstream: CountingUpstream
) -> None:
    upstream.heads.clear()
    upstream.whole.clear()
    with WireClient(strict.port) as client:
        client.socket.sendall(case.sent)
        if case.stays_open:
            assert client.answer().status == case.status
            client.socket.sendall(request())
            assert client.answer().status == 200
            # The upstream's thread may note a request after its answer has arrived here.
            expected = 2 if case.seen is Seen.REQUEST else 1
            wait_until(lambda: len(upstream.whole) >= expected, what="the upstream to note the requests")
            upstream.heads.pop()
            upstream.whole.pop()
        else:
            answer = until_closed(client.socket)
            assert answer.startswith(b"HTTP/1.1 %d " % case.status)
            assert answer.count(b"HTTP/1.1 ") == 1

    begun, whole = seen_by(upstream, strict)
    if case.seen is Seen.REQUEST:
        assert len(begun) == len(whole) == 1
        assert whole[0].split(b"\r\n")[0].split(b" ")[1:] == [SERVERS, b"HTTP/1.1"]
        assert b"X-Roles: admin" not in whole[0]
        assert b"_" not in whole[0].partition(b"\r\n\r\n")[0].partition(b"\r\n")[2].replace(b"X_", b"")
    elif case.seen is Seen.BROKEN_OFF:
        assert whole == []
    else:
        assert begun == []


def test_none_of_it_writes_to_the_event_log(strict: Proxy) -> None:
    assert "Unsupported upgrade" not in strict.server.output
    assert "Invalid HTTP request" not in strict.server.output
    assert "Traceback" not in strict.server.output


def test_the_published_table_is_this_one() -> None:
    assert table() in (ROOT / "SECURITY.md").read_text()
