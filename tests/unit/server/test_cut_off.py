"""A client that metaproxy cuts off, because it does not read: the log does not say that it has left."""

import asyncio
from typing import Any

import pytest

from tests.unit.cache.wire import ITEM, TOKEN, Wired, wired
from tests.unit.fast_lane.lines import request
from tests.unit.forward.scripted import Peer

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


def cut_off(proxy: Wired) -> None:
    """Let the time of every client be over that does not read."""
    connections: list[Any] = list(proxy.line.listening.connections)
    for connection in connections:
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
