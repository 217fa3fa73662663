"""SIGTERM under load: whoever was let in is answered, to the last byte."""

import asyncio
import json
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from metaproxy.demo.world import ALICE
from tests.e2e.deployment import ITEM, METADATA, RED_API, Proxy, Sections, running_proxy
from tests.e2e.processes import accepts, wait_until
from tests.e2e.sockets import ScriptedUpstream, UpstreamConnection
from tests.e2e.traffic import Kind, Traffic, numbered
from tests.redis_server import RedisServer
from tests.unit.forward.certificates import Authority

pytestmark = pytest.mark.e2e

STEADY = 8
"""Clients of each kind."""

BEFORE = 60
"""Answers that each kind must have had before SIGTERM."""

GRACE = {"shutdown_grace": "10m"}
"""On a busy machine, what was let in may need more than the default."""

PIECE = b"x" * 16384
UPLOAD_BYTES = 8 * len(PIECE)
RECEIVED = json.dumps({"received": UPLOAD_BYTES}).encode()
MARK = b"--end--"


class Upstream(ScriptedUpstream):
    """Answers items and uploads at once; begins slow answers at once, and ends them when it may."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.may_end = threading.Event()
        self.slow_begun = 0

    def _answer(self, connection: UpstreamConnection, head: bytes) -> None:
        if head.startswith(b"POST "):
            connection.read_exactly(UPLOAD_BYTES)
            send_json(connection, RECEIVED)
        elif b"/slow" in head.partition(b"\r\n")[0]:
            self.slow_begun += 1
            connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", chunk(PIECE))
            assert self.may_end.wait(60)
            connection.send(chunk(PIECE), chunk(MARK), b"0\r\n\r\n")
        else:
            send_json(connection, b'{"meta": {"label": "value"}}')


def send_json(connection: UpstreamConnection, body: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    connection.send(head % len(body), body)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def request(method: str, path: str, *fields: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: compute", f"X-Auth-Token: {ALICE.token}", *fields]
    return "\r\n".join([*lines, "", ""]).encode()


def reads(name: str, template: str) -> Kind:
    """Reads of what ``template`` says, whole where they are an item."""
    paths = numbered(template)

    async def send(writer: asyncio.StreamWriter) -> None:
        writer.write(request("GET", next(paths)))

    def is_whole(status: int, body: bytes) -> bool:
        return status == 200 and json.loads(body) == {"meta": {"label": "value"}}

    return Kind(name, send, is_whole)


async def upload(writer: asyncio.StreamWriter) -> None:
    """Send a body in pieces, each when the last one is on its way."""
    fields = (f"Content-Length: {UPLOAD_BYTES}", "Content-Type: application/octet-stream")
    writer.write(request("POST", f"{RED_API}/servers", *fields))
    for _ in range(UPLOAD_BYTES // len(PIECE)):
        writer.write(PIECE)
        await writer.drain()
        await asyncio.sleep(0)


async def ask_slow(writer: asyncio.StreamWriter) -> None:
    writer.write(request("GET", f"{RED_API}/servers/slow"))


HITS = reads("hit", ITEM)
MISSES = reads("miss", METADATA + "/key-{}")
UPLOADS = Kind("upload", upload, lambda status, body: (status, body) == (200, RECEIVED))
SLOW = Kind("slow", ask_slow, lambda status, body: (status, body) == (200, PIECE + PIECE + MARK))


@pytest.fixture
def slow_upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream
        upstream.may_end.set()


@dataclass(frozen=True, slots=True)
class Way:
    """How the proxy is run, and how its clients reach it."""

    sections: Sections
    tls: ssl.SSLContext | None = None


@pytest.fixture
def one_process() -> Way:
    return Way({"server": GRACE})


@pytest.fixture
def two_workers() -> Iterator[Way]:
    with RedisServer() as redis:
        yield Way({"server": {**GRACE, "workers": 2}, "store": {"url": redis.url, "timeout": "2s"}})


@pytest.fixture
def over_tls(tmp_path: Path) -> Way:
    authority = Authority(tmp_path)
    issued = authority.issue("proxy")
    tls = {"certificate": str(issued.certificate), "key": str(issued.key)}
    return Way({"server": {**GRACE, "tls": tls}}, ssl.create_default_context(cafile=str(authority.ca)))


@pytest.fixture(params=["one_process", pytest.param("two_workers", marks=pytest.mark.redis), "over_tls"])
def way(request: pytest.FixtureRequest) -> Way:
    found: Way = request.getfixturevalue(request.param)
    return found


async def until(condition: Callable[[], bool], what: str) -> None:
    await asyncio.to_thread(wait_until, condition, what=what)


@asynccontextmanager
async def clients(traffic: Traffic) -> AsyncIterator[None]:
    """Clients of every kind; the block's end waits until the server has told each to go."""
    async with asyncio.TaskGroup() as tasks:
        for kind in (HITS, MISSES, UPLOADS):
            for _ in range(STEADY):
                tasks.create_task(traffic.over_one_connection(kind))
                tasks.create_task(traffic.over_new_connections(kind))
        for _ in range(STEADY):
            tasks.create_task(traffic.over_one_connection(SLOW))
        yield


async def test_at_sigterm_under_load_whoever_was_let_in_is_answered(
    tmp_path: Path, identity: str, slow_upstream: Upstream, way: Way
) -> None:
    with running_proxy(
        tmp_path, upstream=slow_upstream.url, identity=identity, sections=way.sections
    ) as proxy:
        traffic = Traffic(proxy.port, way.tls)
        answered = traffic.account.answered
        async with clients(traffic):
            await until(
                lambda: (
                    slow_upstream.slow_begun == STEADY
                    and all(answered[kind] >= BEFORE for kind in ("hit", "miss", "upload"))
                ),
                "load of every kind",
            )
            before = answered.total()

            proxy.server.terminate()

            await until(lambda: not accepts(proxy.port), "the listener to close")
            slow_upstream.may_end.set()
        exit_code = await asyncio.to_thread(proxy.server.wait)

    assert traffic.account.failed == []
    assert exit_code == 0
    assert answered["slow"] >= STEADY
    assert answered.total() > before
    assert traffic.account.refused_connections == 3 * STEADY
    assert lines_of_the_access_log(proxy) == answered.total()


def lines_of_the_access_log(proxy: Proxy) -> int:
    return proxy.server.output.count('"event":"request"')
