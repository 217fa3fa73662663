"""Which connection carries a request: reuse, bounds, the queue, and connections that have died."""

import asyncio
from pathlib import Path

import httpx
import pytest

from metaproxy.forward.errors import ConnectionReset, QueueFull
from metaproxy.forward.transport import PoolUse, UpstreamTransport
from tests.unit.forward.conftest import MakeTransport
from tests.unit.forward.scripted import OK, Peer, Script, Upstream, answers, read, request, upstream


async def get(transport: UpstreamTransport, compute: Upstream, method: str = "GET") -> bytes:
    return await read(await transport.handle_async_request(request(compute.url, method)))


def use(transport: UpstreamTransport) -> PoolUse:
    (only,) = transport.uses()
    return only


async def test_a_connection_is_used_again(make_transport: MakeTransport) -> None:
    transport = make_transport()
    async with upstream(answers(OK)) as compute:
        for _ in range(3):
            assert await get(transport, compute) == b"ok"

        assert len(compute.peers) == 1
        assert use(transport) == PoolUse(compute.origin, busy=0, idle=1, queued=0)


@pytest.mark.parametrize(
    ("method", "response"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 200 OK\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 30\r\n\r\n"),
        ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ("GET", b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n"),
    ],
)
async def test_a_response_without_body_leaves_the_connection_usable(
    make_transport: MakeTransport, method: str, response: bytes
) -> None:
    transport = make_transport()
    async with upstream(answers(response, OK)) as compute:
        assert await get(transport, compute, method) == b""
        assert await get(transport, compute) == b"ok"

        assert len(compute.peers) == 1


@pytest.mark.parametrize(
    "response",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", id="it says so"),
        pytest.param(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", id="HTTP/1.0"),
        pytest.param(OK + OK, id="more than was asked for"),
        pytest.param(OK + b"garbage", id="garbage behind it"),
    ],
)
async def test_a_connection_that_must_not_be_used_again(
    make_transport: MakeTransport, response: bytes
) -> None:
    transport = make_transport()
    async with upstream(answers(response)) as compute:
        assert await get(transport, compute) == b"ok"
        assert await get(transport, compute) == b"ok"

        assert len(compute.peers) == 2


async def test_bytes_that_nobody_asked_for_close_an_idle_connection(make_transport: MakeTransport) -> None:
    transport = make_transport()
    closed = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(OK)
        await peer.send(OK)
        await peer.closed()
        closed.set()

    async with upstream(script, answers(OK)) as compute:
        assert await get(transport, compute) == b"ok"
        await closed.wait()
        assert await get(transport, compute) == b"ok"

        assert len(compute.peers) == 2


async def test_an_end_that_the_loop_has_not_read_yet_is_seen(make_transport: MakeTransport) -> None:
    transport = make_transport()
    async with upstream(answers(OK, close=True), answers(OK)) as compute:
        assert await get(transport, compute) == b"ok"
        compute.peers[0].writer.transport.abort()
        # POST could not be repeated: that it is answered shows that the dead connection was not used.
        assert await get(transport, compute, "POST") == b"ok"


def dies_when_used_again(deaths: list[bytes]) -> Script:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(OK)
        deaths.append(await peer.head())
        peer.reset()

    return script


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
async def test_an_idempotent_request_is_repeated_when_a_kept_connection_died(
    make_transport: MakeTransport, method: str
) -> None:
    transport = make_transport()
    deaths: list[bytes] = []
    async with upstream(dies_when_used_again(deaths), answers(OK)) as compute:
        await get(transport, compute)
        await get(transport, compute, method)

        assert len(deaths) == 1
        assert len(compute.peers) == 2


async def test_a_request_is_repeated_once_only(make_transport: MakeTransport) -> None:
    transport = make_transport()
    deaths: list[bytes] = []

    async def dies(peer: Peer) -> None:
        deaths.append(await peer.head())
        peer.reset()

    async with upstream(dies_when_used_again(deaths), dies) as compute:
        await get(transport, compute)
        with pytest.raises(ConnectionReset):
            await get(transport, compute)

        assert len(deaths) == 2


async def test_a_request_that_may_have_been_acted_on_is_not_repeated(make_transport: MakeTransport) -> None:
    transport = make_transport()
    deaths: list[bytes] = []
    async with upstream(dies_when_used_again(deaths), answers(OK)) as compute:
        await get(transport, compute)
        with pytest.raises(ConnectionReset):
            await get(transport, compute, "POST")


async def test_a_request_with_a_body_is_not_repeated(make_transport: MakeTransport) -> None:
    transport = make_transport()
    deaths: list[bytes] = []
    async with upstream(dies_when_used_again(deaths), answers(OK)) as compute:
        await get(transport, compute)
        upload = request(compute.url, "PUT", headers=[(b"content-length", b"3")], body=[b"abc"])
        with pytest.raises(ConnectionReset):
            await transport.handle_async_request(upload)


async def test_an_answer_that_had_begun_is_not_repeated(make_transport: MakeTransport) -> None:
    transport = make_transport()

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(OK)
        await peer.head()
        await peer.send(b"HTTP/1.1 2")

    async with upstream(script, answers(OK)) as compute:
        await get(transport, compute)
        with pytest.raises(ConnectionReset):
            await get(transport, compute)


async def test_a_fresh_connection_that_dies_is_no_reason_to_repeat(make_transport: MakeTransport) -> None:
    async def dies(peer: Peer) -> None:
        await peer.head()
        peer.reset()

    async with upstream(dies, answers(OK)) as compute:
        with pytest.raises(ConnectionReset):
            await get(make_transport(), compute)


class Gate:
    """A script that answers each request when it is told to."""

    def __init__(self) -> None:
        self.asked = asyncio.Semaphore(0)
        self.open = asyncio.Semaphore(0)

    async def __call__(self, peer: Peer) -> None:
        while True:
            await peer.head()
            self.asked.release()
            await self.open.acquire()
            await peer.send(OK)


async def test_above_the_most_connections_requests_queue_and_are_served_in_turn(
    make_transport: MakeTransport,
) -> None:
    transport = make_transport(max_connections=1)
    gate = Gate()
    order: list[int] = []

    async def ask(number: int) -> None:
        await get(transport, compute)
        order.append(number)

    async with upstream(gate) as compute, asyncio.TaskGroup() as group:
        for number in range(6):
            group.create_task(ask(number))
        await gate.asked.acquire()
        assert use(transport) == PoolUse(compute.origin, busy=1, idle=0, queued=5)
        for _ in range(6):
            gate.open.release()

    assert order == sorted(order)
    assert len(compute.peers) == 1


async def test_a_full_queue_refuses_at_once(make_transport: MakeTransport) -> None:
    transport = make_transport(max_connections=1, queue=1)
    gate = Gate()
    async with upstream(gate) as compute, asyncio.TaskGroup() as group:
        first, second = (group.create_task(get(transport, compute)) for _ in range(2))
        await gate.asked.acquire()

        with pytest.raises(QueueFull):
            await get(transport, compute)

        gate.open.release()
        gate.open.release()
        assert (await first, await second) == (b"ok", b"ok")


async def test_no_connection_in_time(make_transport: MakeTransport) -> None:
    transport = make_transport(max_connections=1, pool_timeout=0.02)
    gate = Gate()
    async with upstream(gate) as compute, asyncio.TaskGroup() as group:
        first = group.create_task(get(transport, compute))
        await gate.asked.acquire()

        with pytest.raises(httpx.PoolTimeout):
            await get(transport, compute)

        assert use(transport).queued == 0
        gate.open.release()
        assert await first == b"ok"


async def test_a_waiter_that_leaves_makes_room_for_the_next(make_transport: MakeTransport) -> None:
    transport = make_transport(max_connections=1)
    gate = Gate()
    async with upstream(gate) as compute, asyncio.TaskGroup() as group:
        first, leaving, last = (group.create_task(get(transport, compute)) for _ in range(3))
        await gate.asked.acquire()

        leaving.cancel()
        gate.open.release()
        gate.open.release()

        assert (await first, await last) == (b"ok", b"ok")
        assert use(transport) == PoolUse(compute.origin, busy=0, idle=1, queued=0)


async def test_a_connection_that_breaks_leaves_its_place_to_a_waiter(make_transport: MakeTransport) -> None:
    transport = make_transport(max_connections=1)
    asked = asyncio.Event()
    go_on = asyncio.Event()

    async def breaks(peer: Peer) -> None:
        await peer.head()
        asked.set()
        await go_on.wait()
        peer.reset()

    async with upstream(breaks, answers(OK)) as compute:
        first = asyncio.ensure_future(get(transport, compute))
        await asked.wait()
        second = asyncio.ensure_future(get(transport, compute))
        go_on.set()

        with pytest.raises(ConnectionReset):
            await first
        assert await second == b"ok"


async def test_a_connection_that_cannot_be_opened_gives_its_place_back(make_transport: MakeTransport) -> None:
    transport = make_transport(max_connections=1)
    url = httpx.URL("unix:/nonexistent/compute.sock")

    for _ in range(3):
        with pytest.raises(httpx.ConnectError):
            await transport.handle_async_request(request(url))

    assert use(transport).busy == 0


async def test_idle_connections_are_closed(make_transport: MakeTransport) -> None:
    transport = make_transport(keepalive=0.02)
    closed = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(OK)
        await peer.closed()
        closed.set()

    async with upstream(script) as compute:
        await get(transport, compute)
        await closed.wait()

        assert use(transport).idle == 0


async def test_a_connection_that_is_taken_and_given_back_without_a_request_stays_idle(
    make_transport: MakeTransport,
) -> None:
    transport = make_transport(keepalive=0.1)
    async with upstream(answers(OK)) as compute, asyncio.timeout(20):
        await get(transport, compute)
        pool = transport.pool_of(httpx.URL(compute.url))
        while (connection := pool.take_idle()) is not None:
            pool.give_back(connection)
            await asyncio.sleep(0.01)

        assert use(transport).busy == 0


async def test_the_connection_used_last_is_used_next(make_transport: MakeTransport) -> None:
    transport = make_transport()
    gate = Gate()
    async with upstream(gate) as compute:
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(get(transport, compute))
                await gate.asked.acquire()
            gate.open.release()
            gate.open.release()
            gate.open.release()
        used = [len(peer.heads) for peer in compute.peers]
        for _ in range(4):
            gate.open.release()
            await get(transport, compute)

        assert used == [1, 1, 1]
        assert sorted(len(peer.heads) for peer in compute.peers) == [1, 1, 5]


async def test_closing_fails_whoever_still_waits(make_transport: MakeTransport) -> None:
    transport = make_transport(max_connections=1)
    gate = Gate()
    async with upstream(gate) as compute:
        first, second = (asyncio.ensure_future(get(transport, compute)) for _ in range(2))
        await gate.asked.acquire()

        await transport.aclose()

        with pytest.raises(ConnectionReset):
            await first
        with pytest.raises(httpx.ConnectError):
            await second


async def test_every_origin_has_its_own_connections(make_transport: MakeTransport, tmp_path: Path) -> None:
    transport = make_transport(max_connections=1)
    socket_path = str(tmp_path / "compute.sock")
    async with upstream(answers(OK)) as first, upstream(answers(OK), unix=socket_path) as second:
        assert await get(transport, first) == b"ok"
        assert await get(transport, second) == b"ok"

    assert {pool.origin for pool in transport.uses()} == {first.origin, f"unix:{socket_path}"}
