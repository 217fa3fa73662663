"""Broken upstreams behind the whole proxy: told to the client, never cached, never taken for whole."""

import threading
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path

import pytest

from metaproxy.demo.world import ALICE
from tests.e2e.deployment import METADATA, RED_API, Proxy, Sections, running_proxy
from tests.e2e.hostile_upstreams import BEHAVIOURS, FAILURES, OK_BODY, Failure, Got, endless, table
from tests.e2e.processes import ROOT
from tests.e2e.sockets import ScriptedUpstream, UpstreamConnection, WireAnswer, WireClient
from tests.ports import HeldPorts

pytestmark = pytest.mark.e2e

PATIENT: Sections = {
    "upstream": {
        "timeouts": {"connect": "1s", "read": "500ms"},
        "breaker": {"failures": 10000},
        "health": {"interval": "1h"},
    },
    "server": {"body_timeout": "1s"},
}
MOST_ATTEMPTS = 3
"""One, one more where a kept connection has died, and one repeat."""
SERVERS = f"{RED_API}/servers"


@pytest.fixture(scope="module")
def facing(folder: Path, scripted: ScriptedUpstream, identity: str) -> Iterator[Proxy]:
    with running_proxy(
        folder / "facing", upstream=scripted.url, identity=identity, sections=PATIENT
    ) as running:
        yield running


def lines(method: str, target: str, *fields: str) -> tuple[str, ...]:
    return (f"{method} {target} HTTP/1.1", "Host: compute.example", f"X-Auth-Token: {ALICE.token}", *fields)


def got(proxy: Proxy, path: str) -> tuple[Got | int, WireAnswer | None]:
    """Read ``path``; say what came."""
    with WireClient(proxy.port) as client:
        client.send(*lines("GET", path))
        try:
            answer = client.answer()
        except (HTTPException, ConnectionResetError):
            return Got.BROKEN_OFF, None
        named = {"200": Got.WHOLE, "502": Got.BAD_GATEWAY, "504": Got.TIMEOUT}
        return named.get(str(answer.status), answer.status), answer


@pytest.mark.parametrize("failure", FAILURES, ids=str)
def test_a_failure_is_told_and_what_is_not_whole_is_never_stored(
    failure: Failure, facing: Proxy, upstream: ScriptedUpstream
) -> None:
    path = f"{METADATA}/{FAILURES.index(failure)}"
    upstream.script = failure.script
    assert got(facing, path)[0] is failure.got
    asked = len(upstream.heads)
    assert 1 <= asked <= MOST_ATTEMPTS

    upstream.script = lambda connection, _: connection.send(OK_BODY)
    again, answer = got(facing, path)
    assert again is Got.WHOLE
    assert answer is not None
    assert answer.body == b"{}"
    assert len(upstream.heads) == asked + (failure.got is not Got.WHOLE)


def test_what_follows_an_answer_is_never_taken_for_the_next_one(
    facing: Proxy, upstream: ScriptedUpstream
) -> None:
    smuggled = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled"
    upstream.script = lambda connection, _: connection.send(OK_BODY, smuggled)
    for _ in range(5):
        answer = got(facing, SERVERS)[1]
        assert answer is not None
        assert answer.body == b"{}"


@pytest.mark.parametrize(("method", "status", "asked"), [("GET", 200, 3), ("POST", 502, 2)])
def test_only_a_safe_request_is_repeated_when_a_kept_connection_dies(
    facing: Proxy, upstream: ScriptedUpstream, method: str, status: int, asked: int
) -> None:
    served: set[UpstreamConnection] = set()

    def once(connection: UpstreamConnection, _: bytes) -> None:
        if connection in served:
            connection.reset()
            return
        served.add(connection)
        connection.send(OK_BODY)

    upstream.script = once
    with WireClient(facing.port) as client:
        client.send(*lines("GET", SERVERS))
        assert client.answer().status == 200
        client.send(*lines(method, SERVERS, "Content-Length: 0"))
        assert client.answer().status == status
    assert len(upstream.heads) == asked


@pytest.mark.parametrize("path", [f"{SERVERS}/endless", f"{METADATA}/endless"])
def test_an_endless_answer_ends_when_the_client_has_had_enough(
    facing: Proxy, upstream: ScriptedUpstream, path: str
) -> None:
    ended = threading.Event()
    run = endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"4\r\nmore\r\n")

    def until_ended(connection: UpstreamConnection, head: bytes) -> None:
        run(connection, head)
        ended.set()

    upstream.script = until_ended
    with WireClient(facing.port) as client:
        client.send(*lines("GET", path))
        assert len(client.start().read(100_000)) == 100_000
    assert ended.wait(20)


def test_an_answer_that_drips_comes_whole(facing: Proxy, upstream: ScriptedUpstream) -> None:
    def drip(connection: UpstreamConnection, _: bytes) -> None:
        for octet in OK_BODY:
            connection.send(bytes((octet,)))

    upstream.script = drip
    assert got(facing, SERVERS)[0] is Got.WHOLE


def test_an_early_answer_reaches_a_client_that_still_uploads(
    facing: Proxy, upstream: ScriptedUpstream
) -> None:
    upstream.script = lambda connection, _: connection.send(
        b"HTTP/1.1 409 Conflict\r\nContent-Length: 2\r\n\r\nno"
    )
    with WireClient(facing.port) as client:
        client.send(*lines("PUT", SERVERS, "Content-Length: 100000"), body=b"a" * 1000)
        answer = client.answer()
        assert (answer.status, answer.body) == (409, b"no")


def test_an_upstream_that_closes_while_the_client_uploads_is_a_bad_gateway(
    facing: Proxy, upstream: ScriptedUpstream
) -> None:
    upstream.script = lambda connection, _: connection.reset()
    with WireClient(facing.port) as client:
        client.send(*lines("PUT", SERVERS, "Content-Length: 100000"), body=b"a" * 1000)
        assert client.answer().status == 502
    assert len(upstream.heads) == 1


def test_an_upstream_that_nobody_runs_is_a_bad_gateway(folder: Path, identity: str) -> None:
    with (
        HeldPorts() as nobody,
        running_proxy(
            folder / "nobody",
            upstream=f"http://127.0.0.1:{nobody.first}",
            identity=identity,
            sections=PATIENT,
        ) as proxy,
    ):
        assert got(proxy, SERVERS)[0] is Got.BAD_GATEWAY


def test_the_published_table_of_upstreams_is_this_one_and_every_row_has_its_test() -> None:
    assert table() in (ROOT / "SECURITY.md").read_text()
    assert {case.test for case in BEHAVIOURS} <= globals().keys()
