"""The compute API behind every proxy: as fast as Python can be, so that the proxies are what is measured.

    GET  …/metadata/{key}   30 bytes, with the fields that Nova sends; 200 bytes for wide-… keys
    GET  …/file             64 MiB
    PUT  …/file             takes a body of any size, then answers
    POST /v1/traces         takes metaproxy's spans, and is not counted
    GET  /identity          for nginx: 200 with the caller's project, 401 for an unknown token
    GET  /requests          how many requests of the kinds above have come

``python -m tests.bench.upstream PORT`` runs it. It reads no chunked bodies: no proxy here sends any.
"""

import asyncio
import re
import sys

import uvloop

from tests.bench.population import CALLERS, ETAG, caller

ITEM = b'{"meta": {"label": "Updated"}}'
WIDE_ITEM = b'{"meta": {"label": "%s"}}' % (b"x" * 177)
FILE_BYTES = 64 * 2**20
CHUNK = bytes(256 * 1024)
SPANS = b"/v1/traces"
PROJECTS = {caller(number).token.encode(): caller(number).project.encode() for number in range(CALLERS)}


def answer(status: bytes, body: bytes, *fields: bytes, length: int | None = None) -> bytes:
    """Return an answer; ``length`` where the body follows piece by piece."""
    size = len(body) if length is None else length
    head = [
        b"HTTP/1.1 " + status,
        b"Content-Type: application/json",
        b"Content-Length: %d" % size,
        b"OpenStack-API-Version: compute 2.1",
        b"Vary: OpenStack-API-Version, X-OpenStack-Nova-API-Version",
        b"X-Compute-Request-Id: req-0f7c0e14-9a4a-4a59-9d3f-8a2d6b4a1c11",
        *fields,
    ]
    return b"\r\n".join([*head, b"", body])


OK = answer(b"200 OK", ITEM, b"ETag: " + ETAG.encode())
WIDE = answer(b"200 OK", WIDE_ITEM, b"ETag: " + ETAG.encode())
FILE_HEAD = answer(b"200 OK", b"", length=FILE_BYTES)
UNKNOWN = answer(b"401 Unauthorized", b"{}")
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
TOKEN = re.compile(rb"\r\nx-auth-token: *([!-~]+)", re.IGNORECASE)


class Upstream(asyncio.Protocol):
    """One connection."""

    requests = 0
    """Requests over all connections, but for those that count them or ask whether we live."""

    def __init__(self) -> None:
        self._head = b""
        self._body_left = 0
        self._file_left = 0
        self._paused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A proxy has connected."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Bytes of a head or of a body have come."""
        if self._body_left:
            self._take_body(len(data))
            return
        self._head += data
        end = self._head.find(b"\r\n\r\n")
        if end >= 0:
            head, rest = self._head[:end], len(self._head) - end - 4
            self._head = b""
            self._answer(head, rest)

    def pause_writing(self) -> None:
        """The proxy reads more slowly than we write."""
        self._paused = True

    def resume_writing(self) -> None:
        """The proxy has caught up."""
        self._paused = False
        self._give_file()

    def _answer(self, head: bytes, body_bytes: int) -> None:
        method, target, _ = head.split(b" ", 2)
        if target in OWN:
            self._transport.write(OWN[target]())
            return
        Upstream.requests += target != SPANS
        if method in {b"PUT", b"POST"}:
            length = CONTENT_LENGTH.search(head)
            self._body_left = int(length[1]) if length else 0
            self._take_body(body_bytes)
        elif target == b"/identity":
            self._transport.write(_identity(head))
        elif target.endswith(b"/file"):
            self._transport.write(FILE_HEAD)
            self._file_left = FILE_BYTES
            self._give_file()
        else:
            self._transport.write(WIDE if b"/wide-" in target else OK)

    def _take_body(self, count: int) -> None:
        self._body_left -= count
        if not self._body_left:
            self._transport.write(OK)

    def _give_file(self) -> None:
        while self._file_left and not self._paused:
            self._file_left -= len(CHUNK)
            self._transport.write(CHUNK)


def _identity(head: bytes) -> bytes:
    token = TOKEN.search(head)
    project = PROJECTS.get(token[1]) if token else None
    return answer(b"200 OK", b"{}", b"X-Project-Id: " + project) if project else UNKNOWN


OWN = {b"/": lambda: OK, b"/requests": lambda: answer(b"200 OK", b"%d" % Upstream.requests)}


async def serve(port: int) -> None:
    """Serve on ``port`` of the loopback interface until the process is told to end."""
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", port, backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
