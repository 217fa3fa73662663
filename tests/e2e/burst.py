"""Many requests at once, to several servers, over plain connections that are kept alive."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

HANG_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request: the server's port, which of its connections, status, time taken."""

    port: int
    connection: int
    status: int
    seconds: float


async def burst(
    ports: Sequence[int], path: str, headers: Mapping[str, str], *, connections: int, requests: int
) -> list[Outcome]:
    """Send ``requests`` requests over each of ``connections`` connections to each of ``ports``."""
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: metaproxy",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    head = "\r\n".join([*lines, "", ""]).encode("latin-1")
    workers = [
        _requests(port, connection, head, requests) for port in ports for connection in range(connections)
    ]
    return [outcome for outcomes in await asyncio.gather(*workers) for outcome in outcomes]


async def _requests(port: int, connection: int, head: bytes, number: int) -> list[Outcome]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    outcomes = []
    try:
        for _ in range(number):
            begun = time.monotonic()
            writer.write(head)
            async with asyncio.timeout(HANG_SECONDS):
                status = await _status(reader)
            outcomes.append(Outcome(port, connection, status, time.monotonic() - begun))
    finally:
        writer.close()
        await writer.wait_closed()
    return outcomes


async def _status(reader: asyncio.StreamReader) -> int:
    """Read one answer with its body; return its status."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    length = next(line for line in head.split("\r\n") if line.startswith("content-length:"))
    await reader.readexactly(int(length.partition(":")[2]))
    return int(head.split()[1])
