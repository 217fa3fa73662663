"""How fast one core passes requests to one upstream: our engine beside others.

``python -m tests.bench.engine [seconds]`` runs each contestant for so long, three times in turn, 32
requests at once, this process on one core and the upstream on another, and prints medians: requests a
second by the clock, and by the processor time of this process, which other load disturbs less.
"""

import asyncio
import importlib.util
import os
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, NamedTuple, cast

import httpx
import uvloop

from metaproxy.exchange import SCOPE_KEY, Exchange
from metaproxy.forward.proxy import Forward
from metaproxy.forward.transport import UpstreamTransport

CONCURRENT = 32
ROUNDS = 3
PATH = "/v2.1/9fa0/images/70a599e0-31e7-49b7-b260-868f441e862b/metadata/label"
HEADERS = [
    (b"host", b"compute.example"),
    (b"user-agent", b"python-novaclient"),
    (b"accept", b"application/json"),
    (b"accept-encoding", b"gzip, deflate"),
    (b"x-auth-token", b"x" * 180),
    (b"x-user-id", b"5f9a3d2c0f7b4d6a8d0e4f5b6c7d8e9f"),
    (b"x-project-id", b"9fa0c0ffee0b4d6a8d0e4f5b6c7d8e9f"),
    (b"x-roles", b"member,reader"),
    (b"x-identity-status", b"Confirmed"),
]

Request = Callable[[], Awaitable[None]]
Contestant = Callable[[str], AbstractAsyncContextManager[Request]]


def bare(make: Callable[[], httpx.AsyncBaseTransport]) -> Contestant:
    """A transport by itself: the request made, the body read."""

    @asynccontextmanager
    async def contestant(origin: str) -> AsyncIterator[Request]:
        transport = make()
        url = httpx.URL(origin)
        stream = httpx.ByteStream(b"")
        extensions = {"target": PATH.encode()}

        async def request() -> None:
            asked = httpx.Request("GET", url, headers=HEADERS, stream=stream, extensions=extensions)
            response = await transport.handle_async_request(asked)
            async for _ in cast("httpx.AsyncByteStream", response.stream):
                pass
            await response.aclose()

        yield request
        await transport.aclose()

    return contestant


def forwarding(make: Callable[[], httpx.AsyncBaseTransport]) -> Contestant:
    """The whole last application of the line over a transport."""

    @asynccontextmanager
    async def contestant(origin: str) -> AsyncIterator[Request]:
        forward = Forward(make(), targets=[origin])
        loop = asyncio.get_running_loop()
        scope = {
            "type": "http",
            "method": "GET",
            "path": PATH,
            "raw_path": PATH.encode(),
            "query_string": b"",
            "headers": HEADERS,
            "client": ("192.0.2.1", 40000),
        }

        async def receive() -> Any:
            await loop.create_future()

        async def send(message: Any) -> None:
            pass

        async def request() -> None:
            await forward({**scope, SCOPE_KEY: Exchange(request_id="req-1", started=0.0)}, receive, send)

        yield request
        await forward.close()

    return contestant


@asynccontextmanager
async def aiohttp_alone(origin: str) -> AsyncIterator[Request]:
    """aiohttp's own client, without httpx's interface; measured where it is installed."""
    import aiohttp

    url = origin + PATH
    headers = [(name.decode(), value.decode()) for name, value in HEADERS]
    async with aiohttp.ClientSession(auto_decompress=False) as session:

        async def request() -> None:
            async with session.get(url, headers=headers, allow_redirects=False) as response:
                await response.read()

        yield request


CONTESTANTS: dict[str, Contestant] = {
    "UpstreamTransport": bare(UpstreamTransport),
    "httpx.AsyncHTTPTransport": bare(httpx.AsyncHTTPTransport),
    "Forward over UpstreamTransport": forwarding(UpstreamTransport),
    "Forward over httpx.AsyncHTTPTransport": forwarding(httpx.AsyncHTTPTransport),
}


class Rate(NamedTuple):
    """Requests a second: by the clock, and by processor time."""

    clock: float
    processor: float


async def rate(contestant: Contestant, origin: str, seconds: float) -> Rate:
    done = 0
    async with contestant(origin) as request:
        await request()
        started, used = time.perf_counter(), time.process_time()
        end = started + seconds

        async def keep_asking() -> None:
            nonlocal done
            while time.perf_counter() < end:
                await request()
                done += 1

        await asyncio.gather(*(keep_asking() for _ in range(CONCURRENT)))
        return Rate(done / (time.perf_counter() - started), done / (time.process_time() - used))


def main(seconds: float) -> None:
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[-1]})
    upstream = subprocess.Popen([sys.executable, "-m", "tests.bench.engine_upstream"], stdout=subprocess.PIPE)
    os.sched_setaffinity(0, {cores[0]})
    assert upstream.stdout is not None
    origin = f"http://127.0.0.1:{int(upstream.stdout.readline())}"
    contestants = dict(CONTESTANTS)
    if importlib.util.find_spec("aiohttp") is not None:
        contestants["aiohttp alone"] = aiohttp_alone
    rates: dict[str, list[Rate]] = {name: [] for name in contestants}
    try:
        for _ in range(ROUNDS):
            for name, contestant in contestants.items():
                rates[name].append(uvloop.run(rate(contestant, origin, seconds)))
    finally:
        upstream.terminate()
        upstream.wait()
    print("by clock  by processor")
    for name, measured in rates.items():
        clock, processor = (statistics.median(column) for column in zip(*measured, strict=True))
        print(f"{clock:8.0f}  {processor:12.0f}  {name}")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 2.0)
