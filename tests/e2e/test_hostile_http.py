"""Malformed HTTP over real sockets: refused, the connection closed, nothing of it at the upstream."""

import itertools
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.deployment import Proxy, Sections, running_proxy
from tests.e2e.hostile import SECTIONS, SERVERS, Case, Seen, request, table
from tests.e2e.processes import ROOT
from tests.e2e.sockets import OK, ScriptedUpstream, UpstreamConnection, WireClient

pytestmark = pytest.mark.e2e

SHORT: Sections = {
    "server": {"header_timeout": "1s", "body_timeout": "1s"},
    "limits": {"absolute": {"request_body": "1MiB"}},
}
MARKER = b"GET /v2.1/ HTTP/1.1"
MARKED = SERVERS + b"/next"
NUMBERED = re.compile(rb"[A-Z]+ (%b/[0-9]+)\b" % re.escape(SERVERS))
numbers = itertools.count(1)


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


def seen_by(upstream: CountingUpstream, strict: Proxy, target: bytes) -> tuple[list[bytes], list[bytes]]:
    """What the upstream has seen of a test: requests that began and whole ones, now that another went after
    them.

    One that another test has broken off may be noted as late as now: it has a target of its own.
    """
    with WireClient(strict.port) as client:
        client.send(MARKER.decode(), "Host: marker.example")
        assert client.answer().status == 200
    begun, whole = upstream.heads, upstream.whole
    return [head for head in begun if is_of(head, target)], [head for head in whole if is_of(head, target)]


def is_of(head: bytes, target: bytes) -> bool:
    """Say whether a request that was seen has ``target``, or one that no test has sent."""
    found = NUMBERED.match(head)
    return found[1] == target if found else not head.startswith((MARKER, b"GET " + MARKED))


@pytest.mark.parametrize("case", [case for cases in SECTIONS.values() for case in cases], ids=str)
def test_the_answer_the_connection_and_the_upstream_are_as_the_table_says(
    case: Case, strict: Proxy, upstream: CountingUpstream
) -> None:
    target = b"%b/%d" % (SERVERS, next(numbers))
    with WireClient(strict.port) as client:
        client.socket.sendall(case.sent.replace(SERVERS, target, 1))
        if case.stays_open:
            assert client.answer().status == case.status
            client.socket.sendall(request().replace(SERVERS, MARKED, 1))
            assert client.answer().status == 200
        else:
            answer = until_closed(client.socket)
            assert answer.startswith(b"HTTP/1.1 %d " % case.status)
            assert answer.count(b"HTTP/1.1 ") == 1

    begun, whole = seen_by(upstream, strict, target)
    if case.seen is Seen.REQUEST:
        assert len(begun) == len(whole) == 1
        assert whole[0].split(b"\r\n")[0].split(b" ")[1:] == [target, b"HTTP/1.1"]
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
