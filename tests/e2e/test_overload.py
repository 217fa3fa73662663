"""More requests than the upstream can answer: as many as it can are answered, the rest are told at once."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from metaproxy.demo.world import ALICE
from tests.e2e.deployment import RED_API, Sections, running_proxy
from tests.e2e.sockets import OK

pytestmark = pytest.mark.e2e

CONNECTIONS = 4
QUEUE = 8
OVERLOAD = 5
CLIENTS = OVERLOAD * (CONNECTIONS + QUEUE)
ROUNDS = 3
HANG_SECONDS = 30.0

SECTIONS: Sections = {
    "upstream": {
        "max_connections": CONNECTIONS,
        "queue": QUEUE,
        "timeouts": {"pool": "60s", "read": "60s"},
        "health": {"interval": "1h"},
    },
}
REQUEST = (
    f"GET {RED_API}/servers HTTP/1.1\r\nHost: compute.example\r\nX-Auth-Token: {ALICE.token}\r\n\r\n"
).encode()


class BusyUpstream:
    """An upstream that answers when it may, and counts how many requests it has at once.

    Whether it is well, it says at once.
    """

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.at_once = self.most_at_once = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                if b"/servers " in head:
                    await self._work()
                writer.write(OK)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _work(self) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await self.may_answer.wait()
        self.at_once -= 1


@asynccontextmanager
async def busy_upstream() -> AsyncIterator[tuple[BusyUpstream, str]]:
    """Yield one, and its URL."""
    upstream = BusyUpstream()
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0)
    try:
        yield upstream, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def ask(port: int) -> bytes:
    """Send one request; return the head of its answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(REQUEST)
    head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    return head


def status(head: bytes) -> int:
    return int(head.split()[1])


async def test_what_the_upstream_can_take_is_answered_and_the_rest_is_told_at_once_when_to_come_again(
    folder: Path, identity: str
) -> None:
    async with busy_upstream() as (upstream, url), asyncio.timeout(ROUNDS * HANG_SECONDS):
        starting = running_proxy(folder / "overloaded", upstream=url, identity=identity, sections=SECTIONS)
        proxy = await asyncio.to_thread(starting.__enter__)
        try:
            for _ in range(ROUNDS):  # overload leaves nothing behind that would make the next one worse
                upstream.may_answer.clear()
                asked = [asyncio.ensure_future(ask(proxy.port)) for _ in range(CLIENTS)]
                answers = asyncio.as_completed(asked)

                # While the upstream works, all that it cannot take are answered already.
                refused = [await next(answers) for _ in range(CLIENTS - CONNECTIONS - QUEUE)]
                assert Counter(map(status, refused)) == {503: len(refused)}
                assert all(b"\r\nretry-after: " in head for head in refused)

                upstream.may_answer.set()
                rest = [await answer for answer in answers]
                assert Counter(map(status, rest)) == {200: CONNECTIONS + QUEUE}
            assert upstream.most_at_once == CONNECTIONS
        finally:
            await asyncio.to_thread(starting.__exit__, None, None, None)
