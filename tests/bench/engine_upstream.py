"""The upstream of ``tests.bench.engine``: one small answer to every request, as cheaply as can be.

``python -m tests.bench.engine_upstream`` prints the port that it listens on.
"""

import asyncio
from typing import cast

import uvloop

ANSWER = (
    b"HTTP/1.1 200 OK\r\n"
    b"Content-Length: 30\r\n"
    b"Content-Type: application/json\r\n"
    b"Date: Tue, 24 Nov 2026 10:00:00 GMT\r\n"
    b"OpenStack-API-Version: compute 2.1\r\n"
    b"X-OpenStack-Nova-API-Version: 2.1\r\n"
    b"Vary: OpenStack-API-Version\r\n"
    b"Vary: X-OpenStack-Nova-API-Version\r\n"
    b"X-OpenStack-Request-Id: req-6f3b1a52-8b2c-4f2e-9a46-0d5f3b0f0001\r\n"
    b"X-Compute-Request-Id: req-6f3b1a52-8b2c-4f2e-9a46-0d5f3b0f0001\r\n"
    b"\r\n"
    b'{"meta": {"label": "Updated"}}'
)


class Answering(asyncio.Protocol):
    """Answers whatever ends in an empty line; the requests have no body and come one at a time."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if data.endswith(b"\r\n\r\n"):
            self._transport.write(ANSWER)


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve())
