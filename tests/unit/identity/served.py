"""A small Keystone on a real socket: it lets the proxy log in, and describes every token as it is told to."""

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from tests.identities import described

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
FAR_AWAY = "9999-01-01T00:00:00Z"
ISSUED = {"token": {"expires_at": FAR_AWAY}}


def bound() -> socket.socket:
    """Return a socket that is bound, so that its port is ours, and refuses connections until it listens."""
    held = socket.socket()
    held.bind(("127.0.0.1", 0))
    return held


def url_of(held: socket.socket) -> str:
    """Return the URL of the Keystone that listens there."""
    return f"http://127.0.0.1:{held.getsockname()[1]}/v3"


def answer(status: str, body: Any, *fields: str) -> bytes:
    """Return an HTTP answer with ``body`` as JSON."""
    content = json.dumps(body).encode()
    head = [
        f"HTTP/1.1 {status}",
        f"Content-Length: {len(content)}",
        "Content-Type: application/json",
        *fields,
    ]
    return ("\r\n".join(head) + "\r\n\r\n").encode() + content


def a_keystone(asked: list[bytes] | None = None, **changes: Any) -> Handler:
    """Return what describes every token as alice's with ``changes``; ``asked`` gets the questions."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"content-length: *([0-9]+)", head, re.IGNORECASE)
                await reader.readexactly(int(length[1]) if length else 0)
                if head.startswith(b"POST"):
                    writer.write(answer("201 Created", ISSUED, "X-Subject-Token: service-token"))
                else:
                    if asked is not None:
                        asked.append(head)
                    writer.write(
                        answer("200 OK", {"token": described(expires_at=FAR_AWAY)["token"] | changes})
                    )
                await writer.drain()

    return handle


@asynccontextmanager
async def serving(handler: Handler, held: socket.socket) -> AsyncIterator[None]:
    """Answer at ``held`` as ``handler`` does, until the block ends and all connections are closed."""
    handling: list[asyncio.Task[Any]] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            handling.append(task)
        await handler(reader, writer)
        writer.close()

    async with await asyncio.start_server(handle, sock=held):
        yield
        await asyncio.gather(*handling)
