"""A client that metaproxy cuts off, because it does not read: the log does not say that it has left."""

import asyncio
from typing import Any

import pytest

from tests.unit.cache.wire import ITEM, TOKEN, Origin, Wired, wired
from tests.unit.fast_lane.lines import request
from tests.unit.forward.scripted import OK, Peer

BOTH_WAYS = pytest.mark.parametrize("fast", [True, False], ids=["lane", "line"])
FOREVER = 1e9
"""A moment of the loop's clock at which every deadline has passed."""


async def endless(peer: Peer) -> None:
    """Answer with more than every buffer on the way takes."""
    while True:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while True:
            await peer.send(bytes(100_000))


def connections(proxy: Wired) -> list[Any]:
    """Return those that the proxy has accepted."""
    return list(proxy.line.listening.connections)


async def left(proxy: Wired, *, others: int = 0) -> None:
    """Wait until the proxy knows that its client has left, and no more than ``others`` are there."""
    while len(connections(proxy)) > others:
        await asyncio.sleep(0.01)


def cut_off(proxy: Wired) -> None:
    """Let the time of every client be over that does not read."""
    for connection in connections(proxy):
        if connection.flow.write_paused:
            connection.expire(FOREVER)


@BOTH_WAYS
@pytest.mark.parametrize("path", ["/v2.1/t1/servers/s1", ITEM])
async def test_the_log_says_that_the_client_did_not_read(path: str, fast: bool) -> None:
    async with wired(endless, fast=fast) as proxy, asyncio.timeout(60):
        client = await proxy.client(receive_buffer=4096)
        client.writer.write(request(path=path, fields=[f"X-Auth-Token: {TOKEN}"]))
        while not proxy.line.log.lines:
            cut_off(proxy)
            await asyncio.sleep(0.01)

    assert "client_not_reading" in proxy.line.log.lines[-1]
    assert "client_disconnected" not in proxy.line.log.lines[-1]


@BOTH_WAYS
@pytest.mark.parametrize("instead", [OK, b"HTTP/1.1 304 Not Modified\r\n\r\n"], ids=["200", "502"])
async def test_what_is_answered_to_a_client_that_has_left_is_not_logged_as_sent(
    instead: bytes, fast: bool
) -> None:
    origin = Origin(instead)
    origin.open.clear()
    async with wired(origin, fast=fast) as proxy, asyncio.timeout(60):
        client = await proxy.client()
        client.send("GET", ITEM)
        await proxy.flying()
        client.writer.transport.abort()
        await left(proxy)
        origin.open.set()
        await proxy.calm()
        while not proxy.line.log.lines:
            await asyncio.sleep(0.01)

    line = proxy.line.log.lines[-1]
    assert "client_disconnected" in line
    assert ", 200, " not in line
    assert ", 502, " not in line


class Cutting(Origin):
    """Breaks off in the middle of a chunked answer."""

    async def __call__(self, peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n")


@BOTH_WAYS
@pytest.mark.parametrize("path", ["/v2.1/t1/servers/s1", ITEM])
async def test_half_an_answer_to_http_1_0_ends_with_a_reset(path: str, fast: bool) -> None:
    async with wired(Cutting(), fast=fast) as proxy, asyncio.timeout(60):
        client = await proxy.client()
        client.writer.write(request(path=path, version="1.0", fields=[f"X-Auth-Token: {TOKEN}"]))

        with pytest.raises(ConnectionResetError):
            await client.reader.read()


@BOTH_WAYS
@pytest.mark.parametrize("path", ["/v2.1/t1/servers/s1", ITEM])
async def test_the_log_says_for_what_a_client_has_waited_that_leaves(path: str, fast: bool) -> None:
    origin = Origin()
    async with wired(origin, fast=fast) as proxy, asyncio.timeout(60):
        await proxy.ask(path="/v2.1/t1/servers/s2")
        origin.open.clear()
        client = await proxy.client()
        client.send("GET", path)
        await proxy.flying(2)
        client.writer.transport.abort()
        await left(proxy, others=1)
        if path == ITEM:  # others may wait for its answer: it is not broken off
            origin.open.set()
        while len(proxy.line.log.lines) < 2:
            await asyncio.sleep(0.01)

    line = proxy.line.log.lines[-1]
    assert "client_disconnected" in line
    assert proxy.upstream.origin in line
    assert "'upstream': " in line
