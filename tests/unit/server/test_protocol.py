"""The edge over real sockets: a server in this loop, raw bytes from a client."""

import asyncio
import gc
import json
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from metaproxy.config.addresses import ListenAddress
from metaproxy.protocol.signature import Signature
from metaproxy.server.deadlines import sweep
from metaproxy.server.edge import Edge, EdgeLimits
from metaproxy.server.listeners import bind, port_of
from metaproxy.server.protocol import EdgeProtocol
from metaproxy.tasks import TaskSet
from metaproxy.telemetry.dates import DateField
from metaproxy.telemetry.metrics import Metrics
from metaproxy.telemetry.requests import RequestRecord

QUICK = EdgeLimits(header_bytes=2000, url_bytes=200, header_seconds=0.1, body_seconds=0.1, idle_seconds=0.1)


@dataclass
class Running:
    port: int
    state: ServerState
    metrics: Metrics
    asked: list[str] = field(default_factory=list)

    async def exchange(self, *pieces: bytes) -> bytes:
        """Send ``pieces`` and return all that comes until the server closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        for piece in pieces:
            writer.write(piece)
        answer = await asyncio.wait_for(reader.read(), 20)
        writer.close()
        return answer

    def reasons(self) -> list[str]:
        return [labels[4] for labels in self.metrics.counter("metaproxy_requests", "").values]


@asynccontextmanager
async def running(limits: EdgeLimits = QUICK) -> AsyncIterator[Running]:
    metrics, state, tasks = Metrics(), ServerState(), TaskSet()
    edge = Edge(limits, Signature(b"1.1 metaproxy"), RequestRecord(metrics), DateField(lambda: 0.0))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        site.asked.append(scope["path"])
        while (message := await receive()).get("more_body"):
            continue
        if message["type"] == "http.disconnect":
            return
        body = b"x" * int(scope["query_string"] or b"2")
        length = (b"content-length", b"%d" % len(body))
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        await send({"type": "http.response.body", "body": body})

    config = uvicorn.Config(app, lifespan="off", log_config=None, ws="none")
    config.load()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: EdgeProtocol(config, state, {}, loop, edge=edge), sock=bind(ListenAddress("127.0.0.1", 0))
    )
    site = Running(port_of(server.sockets[0]), state, metrics)
    tasks.start(sweep(state.connections, 0.02), name="sweep")
    try:
        yield site
    finally:
        await tasks.cancel()
        server.close()
        for connection in list(state.connections):
            connection.transport.abort()
        await server.wait_closed()


def fault_of(answer: bytes) -> tuple[int, dict[str, Any]]:
    head, _, body = answer.partition(b"\r\n\r\n")
    [fault] = json.loads(body).values()
    assert b"connection: close" in head
    assert b"via: 1.1 metaproxy" in head
    assert b"x-compute-request-id: req-" in head
    return int(head.split()[1]), fault


REFUSED = [
    (b"nonsense\r\n\r\n", 400, "http_invalid"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n", 400, "http_invalid"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n", 400, "http_invalid"),
    (b"GET /" + b"a" * 300 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414, "target_too_long"),
    (b"GET / HTTP/1.1\r\nX: " + b"y" * 3000, 431, "headers_too_large"),
    (b"GET / HTTP/1.1\r\nHost: ", 408, "header_timeout"),
]


@pytest.mark.parametrize(("sent", "status", "reason"), REFUSED)
async def test_what_never_becomes_a_request_is_refused_counted_and_closed(
    sent: bytes, status: int, reason: str
) -> None:
    async with running() as site:
        answer = await site.exchange(sent)

        assert fault_of(answer)[0] == status
        assert reason in site.reasons()


async def test_a_body_that_comes_too_slowly_is_refused_before_its_answer_has_started() -> None:
    async with running() as site:
        answer = await site.exchange(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")

        assert fault_of(answer)[0] == 408


async def test_a_connection_that_says_nothing_is_closed_in_silence() -> None:
    async with running() as site:
        assert await site.exchange() == b""


async def test_an_idle_connection_is_closed() -> None:
    async with running() as site:
        answer = await site.exchange(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n")

        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.endswith(b"xx")


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with running() as site:
        request = b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"
        answer = await site.exchange(b"".join(request % number for number in range(5)))

        assert answer.count(b"HTTP/1.1 200 OK") == 5
        assert site.asked == [f"/{number}" for number in range(5)]


async def test_one_connection_too_many_is_refused() -> None:
    async with running(EdgeLimits(max_connections=1, idle_seconds=5)) as site:
        _, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")

        assert fault_of(await site.exchange())[0] == 503
        assert "too_many_connections" in site.reasons()
        writer.close()


async def test_a_client_that_never_reads_is_cut_off() -> None:
    async with running() as site:
        _, writer = await asyncio.open_connection("127.0.0.1", site.port, limit=1024)
        writer.write(b"GET /big?50000000 HTTP/1.1\r\nHost: a\r\n\r\n")
        connections = site.state.connections

        async def gone() -> None:
            while not site.asked or connections:
                await asyncio.sleep(0.01)

        await asyncio.wait_for(gone(), 20)
        writer.close()


async def test_a_client_that_is_idle_at_shutdown_still_gets_what_it_had_sent() -> None:
    async with running(EdgeLimits()) as site:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n")
        await reader.readuntil(b"xx")

        for connection in list(site.state.connections):
            connection.shutdown()
        writer.write(b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 20)

        assert answer.startswith(b"HTTP/1.1 200")
        assert b"connection: close" in answer
        writer.close()


async def test_one_connection_of_an_address_too_many_is_refused_and_room_again_when_one_has_gone() -> None:
    async with running(EdgeLimits(max_connections_per_address=1, idle_seconds=5)) as site:
        _, first = await asyncio.open_connection("127.0.0.1", site.port)
        first.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")

        assert fault_of(await site.exchange())[0] == 503
        assert "too_many_connections_of_address" in site.reasons()

        first.close()
        async with asyncio.timeout(5):
            while site.state.connections:
                await asyncio.sleep(0.01)
        answer = await site.exchange(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200")


async def test_a_trusted_proxy_may_have_as_many_connections_as_it_wants() -> None:
    limits = EdgeLimits(max_connections_per_address=1, trusted_proxies=(ip_network("127.0.0.0/8"),))
    async with running(limits) as site:
        _, first = await asyncio.open_connection("127.0.0.1", site.port)
        answer = await site.exchange(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")

        assert answer.startswith(b"HTTP/1.1 200")
        first.close()


async def test_the_second_request_of_a_connection_has_no_longer_for_its_head_than_the_first() -> None:
    limits = EdgeLimits(header_seconds=0.1, idle_seconds=60)
    async with running(limits) as site:
        answer = await site.exchange(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost:")

        assert answer.count(b"HTTP/1.1 200") == 1
        assert b"HTTP/1.1 408" in answer


@pytest.mark.parametrize("endless", [b"3;" + b"a" * 40_000, b"0\r\n" + b"X-A: b\r\n" * 5000])
async def test_endless_chunk_extensions_and_trailers_are_refused(endless: bytes) -> None:
    async with running(EdgeLimits()) as site:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not site.asked:
            await asyncio.sleep(0.01)
        writer.write(endless)

        assert fault_of(await asyncio.wait_for(reader.read(), 20))[0] == 400
        assert "framing_excessive" in site.reasons() or site.asked == ["/"]
        writer.close()


async def test_a_connection_that_is_gone_takes_no_memory_until_the_collector_runs() -> None:
    async with running(EdgeLimits()) as site:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await reader.readuntil(b"xx")
        gone = [weakref.ref(connection) for connection in site.state.connections]
        gc.disable()
        try:
            writer.close()
            async with asyncio.timeout(20):
                while site.state.connections or gone[0]() is not None:
                    await asyncio.sleep(0.01)
        finally:
            gc.enable()
