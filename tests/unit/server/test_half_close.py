"""A client that closes its half of the connection is taken to have left (RFC 9112 §9.6 leaves that open)."""

import asyncio

import pytest

from tests.unit.cache.wire import ITEM, TOKEN, Client, Origin, response, wired
from tests.unit.fast_lane.lines import request
from tests.unit.forward.scripted import Peer
from tests.unit.server.edge_server import LOOPS, run

EVERYWHERE = pytest.mark.parametrize("loop", LOOPS)
WAYS = pytest.mark.parametrize("fast", [True, False], ids=["lane", "line"])
SERVER = "/v2.1/t1/servers/s1"


class Waiting(Origin):
    """Answers nothing once it is not ``open``; ``left`` is set when a connection that waits is closed."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.left = asyncio.Event()

    async def __call__(self, peer: Peer) -> None:
        while True:
            await peer.head()
            if not self.open.is_set():
                await peer.closed()
                self.left.set()
                return
            await peer.send(self.answer)


async def rest(client: Client) -> bytes:
    async with asyncio.timeout(60):
        return await client.reader.read()


def ask(client: Client, *paths: str) -> None:
    """Send requests and the end."""
    for path in paths:
        client.writer.write(request(path=path, fields=[f"X-Auth-Token: {TOKEN}"]))
    client.writer.write_eof()


@EVERYWHERE
@WAYS
def test_what_memory_answers_reaches_a_client_that_closes_its_half(fast: bool, loop: str) -> None:
    async def scenario() -> None:
        async with wired(Origin(response(b"stored")), fast=fast, rules=()) as proxy:
            for _ in range(3):
                await proxy.ask()
            for _ in range(10):
                client = await proxy.client()
                ask(client, ITEM)
                assert (await rest(client)).endswith(b"stored")

    run(loop, scenario)


@EVERYWHERE
@WAYS
@pytest.mark.parametrize("path", [ITEM, SERVER])
def test_a_request_at_the_upstream_is_broken_off(path: str, fast: bool, loop: str) -> None:
    async def scenario() -> None:
        origin = Waiting()
        async with wired(origin, fast=fast) as proxy:
            for _ in range(3):
                await proxy.ask(path=SERVER)
            origin.open.clear()
            client = await proxy.client()
            ask(client, path)

            assert await rest(client) == b""
            if path == SERVER:  # what will be stored is fetched for others as well
                async with asyncio.timeout(60):
                    await origin.left.wait()
                assert "client_disconnected" in proxy.line.log.lines[-1]

    run(loop, scenario)
