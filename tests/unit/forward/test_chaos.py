"""Many requests at once to an upstream that misbehaves at random: each gets its own answer or an error."""

import asyncio
import random

import httpx
import pytest

from tests.unit.forward.conftest import MakeTransport
from tests.unit.forward.scripted import Peer, Script, read, request, upstream

REQUESTS = 300
CONCURRENT = 16
CONNECTIONS = 4


def misbehaving(chance: random.Random) -> Script:
    """A script that answers with the request's target, mostly."""

    async def script(peer: Peer) -> None:
        while True:
            target = (await peer.head()).split(b" ")[1]
            match chance.choices(
                ["length", "chunks", "eof", "cut", "reset", "excess", "garbage"], [9, 9, 1, 1, 1, 1, 1]
            )[0]:
                case "length":
                    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(target) + target)
                case "chunks":
                    await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                    await asyncio.sleep(0)
                    await peer.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(target), target))
                case "eof":
                    return await peer.send(b"HTTP/1.1 200 OK\r\n\r\n" + target)
                case "cut":
                    return await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n" + target)
                case "reset":
                    return peer.reset()
                case "excess":
                    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(target) + target
                    await peer.send(answer + answer)
                case "garbage":
                    await peer.send(b"\x00\x01\x02")

    return script


@pytest.mark.parametrize("seed", range(2))
async def test_no_answer_reaches_another_request_and_no_connection_is_lost_count_of(
    make_transport: MakeTransport, seed: int
) -> None:
    chance = random.Random(seed)
    transport = make_transport(max_connections=CONNECTIONS)
    ends: dict[str, int] = {}

    async def ask(number: int) -> str:
        target = b"/%d/%s" % (number, b"x" * chance.randrange(60))
        try:
            response = await transport.handle_async_request(request(compute.url, target=target))
            if chance.random() < 0.05:
                await response.aclose()
                return "given up"
            body = await read(response)
        except httpx.TransportError as error:
            return type(error).__name__
        assert body == target
        return "answered"

    async def keep_asking(numbers: "asyncio.Queue[int]") -> None:
        while not numbers.empty():
            asking = asyncio.ensure_future(ask(numbers.get_nowait()))
            if chance.random() < 0.05:
                asyncio.get_running_loop().call_later(chance.random() * 0.002, asking.cancel)
            await asyncio.wait([asking])
            end = "cancelled" if asking.cancelled() else asking.result()
            ends[end] = ends.get(end, 0) + 1

    numbers: asyncio.Queue[int] = asyncio.Queue()
    for number in range(REQUESTS):
        numbers.put_nowait(number)
    async with upstream(misbehaving(chance)) as compute:
        await asyncio.gather(*(keep_asking(numbers) for _ in range(CONCURRENT)))
        while next(iter(transport.uses())).busy:
            await asyncio.sleep(0)

    (use,) = transport.uses()
    assert sum(ends.values()) == REQUESTS
    assert ends["answered"] > REQUESTS / 2
    assert {"InvalidResponse", "TruncatedResponse"} <= ends.keys()
    assert (use.queued, use.busy) == (0, 0)
    assert use.idle <= CONNECTIONS
