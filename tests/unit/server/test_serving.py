"""The server that clients reach, and how it ends, over real sockets in this loop."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from starlette.types import Receive, Scope, Send

from metaproxy.config.addresses import ListenAddress
from metaproxy.protocol.signature import Signature
from metaproxy.server.deadlines import sweep
from metaproxy.server.edge import Edge, EdgeLimits
from metaproxy.server.listeners import bind, port_of
from metaproxy.server.serving import DataServer, data_server
from metaproxy.tasks import TaskSet
from metaproxy.telemetry.dates import DateField
from metaproxy.telemetry.metrics import Metrics
from metaproxy.telemetry.requests import RequestRecord

REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@dataclass
class Running:
    """A server whose answers begin and end when they may, whatever of a body has come."""

    port: int
    server: DataServer
    serving: "asyncio.Task[None]"
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    may_begin: asyncio.Event = field(default_factory=asyncio.Event)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    may_end: asyncio.Event = field(default_factory=asyncio.Event)

    async def app(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        self.asked.set()
        await self.may_begin.wait()
        headers = [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"o", "more_body": True})
        self.begun.set()
        await self.may_end.wait()
        await send({"type": "http.response.body", "body": b"k"})

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        yield reader, writer
        writer.close()
        await writer.wait_closed()

    async def until_told_to_leave(self) -> None:
        """Wait until every connection knows that the server ends."""
        async with asyncio.timeout(5):
            while not all(connection.is_leaving for connection in self.server.server_state.connections):  # type: ignore[union-attr] # ours
                await asyncio.sleep(0.01)


@asynccontextmanager
async def running(*, grace: float = 20.0) -> AsyncIterator[Running]:
    tasks = TaskSet()
    edge = Edge(EdgeLimits(), Signature(b"1.1 metaproxy"), RequestRecord(Metrics()), DateField(lambda: 0.0))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await site.app(scope, receive, send)

    server = data_server(app, edge, grace=grace, tls=None)
    listener = bind(ListenAddress("127.0.0.1", 0))
    port = port_of(listener)
    site = Running(port, server, tasks.start(server.serve(sockets=[listener]), name="server"))
    tasks.start(sweep(server.server_state.connections, 0.02), name="deadlines")
    try:
        yield site
    finally:
        await tasks.cancel()


async def read_answer(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    async with asyncio.timeout(5):
        head = await reader.readuntil(b"\r\n\r\n")
        return head.lower(), await reader.readexactly(2)


async def test_a_connection_whose_answer_could_not_say_so_says_it_with_the_next() -> None:
    async with running() as site, site.connected() as (reader, writer):
        site.may_begin.set()
        writer.write(REQUEST)
        await site.begun.wait()

        site.server.should_exit = True
        await site.until_told_to_leave()
        site.may_end.set()
        first, _ = await read_answer(reader)
        writer.write(REQUEST)
        second, body = await read_answer(reader)

        assert b"connection: close" not in first
        assert b"connection: close" in second
        assert body == b"ok"
        assert await reader.read() == b""
        await asyncio.wait_for(site.serving, 20)


async def test_an_answer_that_does_not_wait_for_the_body_is_not_closed_away() -> None:
    async with running() as site, site.connected() as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + bytes(1000))
        await site.asked.wait()

        site.server.should_exit = True
        await site.until_told_to_leave()
        site.may_begin.set()
        site.may_end.set()
        _, body = await read_answer(reader)
        writer.write(bytes(99000) + REQUEST)
        last, _ = await read_answer(reader)

        assert body == b"ok"
        assert b"connection: close" in last
        await asyncio.wait_for(site.serving, 20)


async def test_a_connection_that_stays_idle_is_closed_and_the_server_ends() -> None:
    async with running() as site, site.connected() as (reader, writer):
        writer.write(REQUEST)
        site.may_begin.set()
        site.may_end.set()
        await read_answer(reader)

        site.server.should_exit = True

        assert await asyncio.wait_for(reader.read(), 10) == b""
        await asyncio.wait_for(site.serving, 20)


async def test_when_the_grace_is_over_what_still_runs_is_broken_off() -> None:
    async with running(grace=0.0) as site, site.connected() as (reader, writer):
        site.may_begin.set()
        writer.write(REQUEST)
        await site.begun.wait()

        site.server.should_exit = True

        await asyncio.wait_for(site.serving, 20)
        assert (await asyncio.wait_for(reader.read(), 20)).endswith(b"\r\n\r\no")
