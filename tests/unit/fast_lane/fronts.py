"""Two identical lines, one with the fast lane and one without, each in front of an upstream of its own."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from metaproxy.forward.proxy import Forward
from metaproxy.forward.transport import UpstreamTransport
from tests.unit.fast_lane.lines import TOKEN, Line, request
from tests.unit.forward.scripted import Peer, Script, Upstream, answers, upstream

SERVERS = "/v2.1/t1/servers/7"
ALICE = [f"X-Auth-Token: {TOKEN}", "Accept: application/json"]
READ = request(path=SERVERS, fields=ALICE)
OK = b"HTTP/1.1 200 OK\r\nX-Compute-Request-Id: req-u\r\nContent-Type: a/b\r\nContent-Length: 2\r\n\r\nok"
LARGE = b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 3_000_000
VARIES = re.compile(r"metaproxy_(upstream|wait|request)_(duration_)?seconds")


class Front:
    """A line in front of an upstream."""

    def __init__(
        self, origin: Upstream, *, fast: bool, read_timeout: float, configured: Mapping[str, Any]
    ) -> None:
        self.origin = origin
        self.transport = UpstreamTransport(connect_timeout=60, read_timeout=read_timeout)
        # The clock stands still: the budget of repeats must not depend on how busy the machine is.
        self.forward = Forward(self.transport, targets=[origin.origin], clock=lambda: 0.0)
        self.line = Line(fast=fast, forward=self.forward, **configured)

    async def send(self, octets: bytes) -> None:
        """Let ``octets`` arrive, and wait until what they ask for has been answered."""
        if self.line.wire.closed:
            return
        self.line.protocol.data_received(octets)
        await until(self.is_calm)

    def is_calm(self) -> bool:
        """Whether nothing is under way."""
        protocol = self.line.protocol
        protocol.edge.outbox.flush()  # now, in place of the turn's end
        answered = protocol.answers.current is None
        return not protocol.tasks and (answered or self.line.wire.closed)

    def seen(self) -> tuple[object, ...]:
        """Everything that outsiders can see, but for how long it took and ids, which are random."""
        written, log, numbers = self.line.seen()
        numbers = {name: samples for name, samples in numbers.items() if not VARIES.match(name)}
        ids = re.compile(rb"req-[0-9a-f-]{36}")
        # Their order is not known: an idle connection ends after some seconds, and then there are two.
        heads = sorted([ids.sub(b"req", head) for head in self.origin.heads])
        lines = [re.sub(r"(seconds|upstream|'upstream')(=|: )[^,}]*", "", line) for line in log]
        return written, lines, numbers, heads, len(self.line.concurrent)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0)


@asynccontextmanager
async def fronts(
    *scripts: Script, read_timeout: float = 10.0, **configured: Any
) -> AsyncIterator[tuple[Front, Front]]:
    """Yield a line with the fast lane and one without, each with an upstream of its own.

    ``read_timeout`` is how many seconds they wait for it; ``configured`` goes to ``Line``.
    """
    async with upstream(*scripts) as one, upstream(*scripts) as other:
        fast = Front(one, fast=True, read_timeout=read_timeout, configured=configured)
        slow = Front(other, fast=False, read_timeout=read_timeout, configured=configured)
        try:
            yield fast, slow
        finally:
            await fast.forward.close()
            await slow.forward.close()


def in_pieces(*pieces: bytes) -> Script:
    """A script that answers each request in pieces, each of them sent when the one before is on its way."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.head()
            for piece in pieces:
                await peer.send(piece)
                await asyncio.sleep(0.01)

    return script


def then(first: bytes, *, broken: bytes, reset: bool = False) -> Script:
    """A script that answers one request well, and breaks off in the answer to the second."""

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(first)
        await peer.head()
        await peer.send(broken)
        if reset:
            peer.reset()

    return script


SCRIPTS: dict[str, Script] = {
    "a small answer": answers(OK),
    "an answer without a body": answers(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "not modified": answers(b'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\nContent-Length: 9\r\n\r\n'),
    "an empty body": answers(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    "a fault of the API's own": answers(
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nDate: now\r\n\r\n{}"
    ),
    "chunks": answers(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
    "fields that end at this hop": answers(
        b"HTTP/1.1 200 OK\r\nConnection: X-Once\r\nX-Once: 1\r\nKeep-Alive: a\r\nContent-Length: 2\r\n\r\nok"
    ),
    "two fields of a name": answers(
        b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nVia: 1.0 in\r\nContent-Length: 2\r\n\r\nok"
    ),
    "an interim answer first": answers(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK),
    "a head, then a body": in_pieces(OK[:-2], OK[-2:]),
    "a body in two pieces": in_pieces(OK[:-1], OK[-1:]),
    "a head in two pieces": in_pieces(OK[:20], OK[20:]),
    "a large body": answers(LARGE),
    "an end of the connection": answers(OK.replace(b"\r\n", b"\r\nConnection: close\r\n", 1), close=True),
    "a body that ends with the connection": answers(b"HTTP/1.1 200 OK\r\n\r\nok", close=True),
    "a kept-alive connection that is dead": then(OK, broken=b""),
    "a reset before the answer": then(OK, broken=b"", reset=True),
    # No reset: with one, the kernel may drop the octets before it, and it is a reset before the answer.
    "an end in the head": then(OK, broken=b"HTTP/1.1 200"),
    "half a body": then(OK, broken=OK[:-1]),
    "no HTTP": then(OK, broken=b"220 smtp ready\r\n\r\n"),
    "two lengths": then(OK, broken=b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok"),
    "too much": answers(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"),
}
