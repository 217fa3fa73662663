"""More requests than the upstream can answer: as many as it can are answered, the rest are told at once."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from metaproxy.demo.world import ALICE
from tests.e2e.deployment import RED_API, Proxy, Sections, running_proxy
from tests.e2e.sockets import OK

pytestmark = pytest.mark.e2e

CONNECTIONS = 4
WORK_SECONDS = 0.04
QUEUE = 8
SECONDS = 4.0
OVERLOAD = 5

SECTIONS: Sections = {
    "upstream": {"max_connections": CONNECTIONS, "queue": QUEUE, "health": {"interval": "1h"}},
}
REQUEST = (
    f"GET {RED_API}/servers HTTP/1.1\r\nHost: compute.example\r\nX-Auth-Token: {ALICE.token}\r\n\r\n"
).encode()


@asynccontextmanager
async def working_upstream() -> AsyncIterator[str]:
    """An upstream that works for a fixed time on every request."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                await asyncio.sleep(WORK_SECONDS)
                writer.write(OK)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def ask(proxy: Proxy, pause: float, answers: list[tuple[bytes, float]]) -> None:
    """Send requests on one connection, ``pause`` seconds apart or as soon as answered, until the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    end = time.monotonic() + SECONDS
    while (sent := time.monotonic()) < end:
        writer.write(REQUEST)
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.partition(b":")[2]))
        answers.append((head, time.monotonic() - sent))
        await asyncio.sleep(max(0.0, sent + pause - time.monotonic()))
    writer.close()


async def load(proxy: Proxy, clients: int, pause: float) -> tuple[list[float], list[bytes]]:
    """Return how long each admitted request took, and the heads of the other answers."""
    answers: list[tuple[bytes, float]] = []
    await asyncio.gather(*(ask(proxy, pause, answers) for _ in range(clients)))
    admitted = sorted(seconds for head, seconds in answers if head.startswith(b"HTTP/1.1 200"))
    return admitted, [head for head, _ in answers if not head.startswith(b"HTTP/1.1 200")]


async def test_at_five_times_the_capacity_as_much_is_answered_and_the_rest_is_told_when_to_come_again(
    folder: Path, identity: str
) -> None:
    async with working_upstream() as upstream:
        starting = running_proxy(
            folder / "overloaded", upstream=upstream, identity=identity, sections=SECTIONS
        )
        proxy = await asyncio.to_thread(starting.__enter__)
        try:
            capacity = len((await load(proxy, CONNECTIONS, 0.0))[0])
            clients = OVERLOAD * (CONNECTIONS + QUEUE)
            pause = clients * SECONDS / (OVERLOAD * capacity)
            admitted, refused = await load(proxy, clients, pause)
        finally:
            await asyncio.to_thread(starting.__exit__, None, None, None)

    assert len(admitted) + len(refused) > 0.8 * OVERLOAD * capacity
    assert len(admitted) >= 0.9 * capacity
    longest_wait = (QUEUE / CONNECTIONS + 1) * WORK_SECONDS
    assert admitted[int(len(admitted) * 0.99)] < 3 * longest_wait
    assert refused
    assert all(head.startswith(b"HTTP/1.1 503") and b"\r\nretry-after: " in head for head in refused)
