"""Questions to Keystone while replicas restart one after the other: ``python -m tests.bench.restarts``.

Every replica is a process, and so is Redis; Keystone answers in this process and counts. All tokens go to all
replicas. Then each replica is stopped and started again, and gets all tokens at once, while the others go on
to get some. Printed are the questions about tokens, with shared tokens and without, and the cost of the
first request with a token at a replica that has just started.
"""

import argparse
import asyncio
import os
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import Any

from tests.e2e.deployment import Proxy
from tests.filters.sharing_line import KEY, Keystone
from tests.redis_server import RedisServer
from tests.unit.forward.scripted import answers, upstream

TICKS = os.sysconf("SC_CLK_TCK")
CLIENTS = 8
PARTS = 100
"""Of the tokens, one after the other used at the replicas that are not restarted."""
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class Replica:
    """One process, with connections that stay open."""

    def __init__(self, folder: Path, origin: str, sections: dict[str, Any]) -> None:
        self._proxy = Proxy(folder, upstream=origin, identity="http://127.0.0.1:9", sections=sections)
        self.server = self._proxy.server

    async def started(self) -> None:
        await asyncio.to_thread(self._proxy.until_ready)

    async def restart(self) -> None:
        await asyncio.to_thread(self.server.stop)
        self.server = self._proxy.server = self._proxy.start_again()
        await self.started()

    async def ask(self, tokens: Sequence[str]) -> list[float]:
        """Send a request with each token; return how long each took, in milliseconds."""
        left = list(tokens)
        took: list[float] = []

        async def client() -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._proxy.port)
            while left:
                token = left.pop()
                begun = perf_counter()
                writer.write(f"GET /v2.1/p1/x HTTP/1.1\r\nHost: a\r\nX-Auth-Token: {token}\r\n\r\n".encode())
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(2)
                took.append((perf_counter() - begun) * 1000)
                if not head.startswith(b"HTTP/1.1 200 "):
                    raise RuntimeError(head.decode())
            writer.close()

        await asyncio.gather(*(client() for _ in range(CLIENTS)))
        return took

    def cpu_seconds(self) -> float:
        """Return the time of the processor that the process has used."""
        fields = Path(f"/proc/{self.server.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS


@contextmanager
def stopping(replicas: Sequence[Replica]) -> Iterator[None]:
    try:
        yield
    finally:
        for replica in replicas:
            replica.server.stop()


async def measure(number: int, tokens: Sequence[str], *, is_shared: bool) -> str:
    keystone = Keystone()
    with tempfile.TemporaryDirectory() as folder, RedisServer() as redis:
        async with keystone.served(), upstream(answers(ANSWER)) as compute:
            identity: dict[str, Any] = {"url": f"{keystone.origin}/v3", "cache": {"ttl": "1h"}}
            identity["guesses"] = {"rate": None}
            if is_shared:
                identity["shared_tokens"] = {"keys": [KEY]}
            sections = {
                "identity": identity,
                "store": {"url": redis.url, "timeout": "500ms"},
                "cache": {"routes": []},
                "logging": {"access": False},
            }
            replicas = [Replica(Path(folder) / str(each), compute.origin, sections) for each in range(number)]
            with stopping(replicas):
                return await restarted(replicas, keystone, tokens)


async def restarted(replicas: Sequence[Replica], keystone: Keystone, tokens: Sequence[str]) -> str:
    for replica in replicas:
        await replica.started()
        await replica.ask(tokens)
    warm = keystone.questions
    took: list[float] = []
    cpu = 0.0
    for replica in replicas:
        async with traffic([other for other in replicas if other is not replica], tokens):
            await replica.restart()
            before = replica.cpu_seconds()
            took += await replica.ask(tokens)
            cpu += replica.cpu_seconds() - before
    known = await replicas[-1].ask(tokens)
    each = len(replicas) * len(tokens)
    return (
        f"{warm:>8}{keystone.questions - warm:>10}{statistics.median(took):>12.2f}"
        f"{sorted(took)[int(len(took) * 0.99)]:>10.2f}{cpu / each * 1e6:>12.0f}"
        f"{statistics.median(known):>12.2f}"
    )


@asynccontextmanager
async def traffic(replicas: Sequence[Replica], tokens: Sequence[str]) -> Any:
    """Send a hundredth of the tokens to every replica, then the next, until the block ends."""
    ended = asyncio.Event()

    async def go_on(replica: Replica) -> None:
        for part in count():
            if ended.is_set():
                return
            await replica.ask(tokens[part % PARTS :: PARTS])
            await asyncio.sleep(1)

    running = [asyncio.ensure_future(go_on(replica)) for replica in replicas]
    try:
        yield
    finally:
        ended.set()
        await asyncio.gather(*running)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicas", type=int, default=10)
    parser.add_argument("--tokens", type=int, default=1000)
    parser.add_argument("--only", choices=["shared", "not shared"])
    arguments = parser.parse_args()
    tokens = [f"token-{number}-" + "x" * 170 for number in range(arguments.tokens)]
    print(f"{arguments.replicas} replicas, {arguments.tokens} tokens: questions to Keystone, first requests")
    print(
        f"{'':<10}{'before':>8}{'restarts':>10}{'median ms':>12}{'p99 ms':>10}{'CPU us':>12}{'known ms':>12}"
    )
    for name in [arguments.only] if arguments.only else ["shared", "not shared"]:
        row = asyncio.run(measure(arguments.replicas, tokens, is_shared=name == "shared"))
        print(f"{name:<10}{row}", flush=True)


if __name__ == "__main__":
    main()
