"""What is passed on without a task comes to the same as what the line passes on.

Two identical lines, one with the fast lane and one without, each in front of an upstream that does the
same, get the same requests. What clients, upstream, log and metrics see must be the same.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metaproxy.forward.proxy import Forward
from metaproxy.forward.transport import UpstreamTransport
from metaproxy.identity.revocation import Revocation
from metaproxy.identity.static import StaticTokens
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

    def __init__(self, origin: Upstream, *, fast: bool) -> None:
        self.origin = origin
        self.transport = UpstreamTransport(read_timeout=0.5)
        self.forward = Forward(self.transport, targets=[origin.origin])
        self.line = Line(fast=fast, forward=self.forward)

    async def send(self, octets: bytes) -> None:
        """Let ``octets`` arrive, and wait until what they ask for has been answered."""
        if self.line.wire.closed:
            return
        self.line.protocol.data_received(octets)
        await until(self.is_calm)

    def is_calm(self) -> bool:
        """Whether nothing is under way."""
        protocol = self.line.protocol
        answered = protocol.cycle is not None and protocol.cycle.response_complete
        return (
            not protocol.tasks and (answered or self.line.wire.closed) and not protocol.edge.outbox._waiting
        )

    def seen(self) -> tuple[object, ...]:
        """Everything that outsiders can see, but for how long it took and ids, which are random."""
        written, log, numbers = self.line.seen()
        numbers = {name: samples for name, samples in numbers.items() if not VARIES.match(name)}
        ids = re.compile(rb"req-[0-9a-f-]{36}")
        heads = [ids.sub(b"req", head) for head in self.origin.heads]
        lines = [re.sub(r"(seconds|upstream|'upstream')(=|: )[^,}]*", "", line) for line in log]
        return written, lines, numbers, heads, len(self.line.concurrent)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0)


@asynccontextmanager
async def fronts(*scripts: Script) -> AsyncIterator[tuple[Front, Front]]:
    """Yield a line with the fast lane and one without, each with an upstream of its own."""
    async with upstream(*scripts) as one, upstream(*scripts) as other:
        fast, slow = Front(one, fast=True), Front(other, fast=False)
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
    "a reset in the head": then(OK, broken=b"HTTP/1.1 200", reset=True),
    "half a body": then(OK, broken=OK[:-1]),
    "no HTTP": then(OK, broken=b"220 smtp ready\r\n\r\n"),
    "two lengths": then(OK, broken=b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok"),
    "too much": answers(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"),
}


CASES = [("GET", name) for name in SCRIPTS] + [
    # An upstream that sends a body to HEAD is a race between its bytes and the next request, both ways.
    ("HEAD", name)
    for name in (
        "a small answer",
        "an answer without a body",
        "an empty body",
        "a kept-alive connection that is dead",
    )
]


@pytest.mark.parametrize(("method", "name"), CASES)
async def test_whatever_the_upstream_does_both_ways_tell_the_same(method: str, name: str) -> None:
    async with fronts(SCRIPTS[name]) as both:
        for front in both:
            for path in (SERVERS, SERVERS, SERVERS, f"{SERVERS}?a=1", SERVERS):
                await front.send(request(method, path, fields=ALICE))

        assert both[0].seen() == both[1].seen()


async def test_it_takes_no_task() -> None:
    async with fronts(answers(OK)) as (front, _):
        await front.send(READ)
        await front.send(READ)

        for octets in (READ, request(path="/v2.1/t1/flavors", fields=ALICE)):
            front.line.protocol.data_received(octets)
            assert not front.line.protocol.tasks
            await until(front.is_calm)

        assert front.line.wire.written[-1].endswith(b"ok")


async def test_the_same_octets_are_passed_on_without_parsing_them_again() -> None:
    async with fronts(answers(OK)) as (front, slow):
        for _ in range(4):
            await front.send(READ)
            await slow.send(READ)
        front.line.protocol.parser = None  # type: ignore[assignment] # whoever feeds it fails

        await front.send(READ)
        await slow.send(READ)

        assert front.seen() == slow.seen()


async def test_another_read_with_the_same_header_section_is_passed_on_without_parsing_it() -> None:
    async with fronts(answers(OK)) as (front, slow):
        for number in range(3):
            await front.send(request(path=f"{SERVERS}{number}", fields=ALICE))
            await slow.send(request(path=f"{SERVERS}{number}", fields=ALICE))
        front.line.protocol.parser = None  # type: ignore[assignment] # whoever feeds it fails

        for another in (f"{SERVERS}3", f"{SERVERS}4?a=%20b", "/v2.1/t1/flavors", "/v2.1/flavors/1/"):
            await front.send(request(path=another, fields=ALICE))
            await slow.send(request(path=another, fields=ALICE))

        assert front.seen() == slow.seen()


async def test_what_is_kept_to_pass_reads_on_again_holds_no_token() -> None:
    async with fronts(answers(OK)) as (front, _):
        for _ in range(6):
            await front.send(READ)

        planner = front.line.lane._planner
        plans = [*planner.plans._plans.values(), *planner.sections._plans.values()]

    assert len(plans) == 2
    for plan in plans:
        assert plan.passed is not None
        kept = plan.passed.before + plan.passed.between + plan.passed.after
        assert b"x-user-id: alice" in kept
        assert b"x-auth-token: " in plan.passed.before
        assert TOKEN.encode() not in kept + repr(plan.scope).encode()


OTHER_PATHS = st.sampled_from(
    [f"{SERVERS}{number}" for number in range(6)]
    + ["/v2.1/t1/flavors", "/v2.1/t1/flavors.json", f"{SERVERS}?a=1&a=%2e", "/v2.1/servers/", "/about", "/"]
    + ["/v2.1/t1/./servers", "/v2.1//servers", "/V2.1/t1/images/i1", "/v2.1/t1/%73ervers", "/v2.1/t1/a;b"]
    + ["/v2.1/t2/servers", "/v2.1/t1/images/i1/metadata", "/v2.1/t1/images/i1/metadata/label"]
)
OTHER_METHODS = st.sampled_from(["GET"] * 5 + ["HEAD", "DELETE"])
OTHER_FIELDS = st.sampled_from([ALICE] * 4 + [ALICE[:1], ["X-Auth-Token: bob"], ["X-Auth-Token: x"], []])


async def to_each_method_its_own(peer: Peer) -> None:
    """A script that answers HEAD without a body."""
    while True:
        head = await peer.head()
        await peer.send(OK.removesuffix(b"ok") if head.startswith(b"HEAD") else OK)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(OTHER_METHODS, OTHER_PATHS, OTHER_FIELDS), min_size=4, max_size=20))
async def test_whatever_is_read_both_ways_tell_the_same(reads: list[tuple[str, str, list[str]]]) -> None:
    async with fronts(to_each_method_its_own) as both:
        for front in both:
            for method, path, fields in reads:
                await front.send(request(method, path, fields=fields))

        assert both[0].seen() == both[1].seen()


async def test_a_token_that_was_revoked_lets_no_read_through_whatever_came_before_with_it() -> None:
    async with fronts(answers(OK)) as both:
        for front in both:
            for number in range(4):
                await front.send(request(path=f"{SERVERS}{number}", fields=ALICE))
            front.line.validator.revoke(Revocation(user_id="alice"))
            front.line.validator._inner = StaticTokens([])
            await front.send(request(path=f"{SERVERS}9", fields=ALICE))

        assert b"HTTP/1.1 401" in both[0].line.wire.written[-1]
        assert both[0].seen() == both[1].seen()


async def test_over_the_rate_the_upstream_is_not_asked_and_its_connection_stays() -> None:
    async with fronts(answers(OK)) as (front, slow):
        for _ in range(20):
            await front.send(READ)
            await slow.send(READ)

        assert len(front.origin.heads) == 12
        assert [use.busy for use in front.transport.uses()] == [0]
        assert front.seen() == slow.seen()


async def test_over_the_rate_the_same_read_is_refused_without_looking_at_its_header_section() -> None:
    async with fronts(answers(OK)) as (front, slow):
        for number in range(12):
            await front.send(request(path=f"{SERVERS}{number}", fields=ALICE))
            await slow.send(request(path=f"{SERVERS}{number}", fields=ALICE))
        for _ in range(3):
            await front.send(READ)
            await slow.send(READ)

        planner = front.line.lane._planner
        [plan] = planner.plans._plans.values()
        assert plan.passed is None
        assert b"HTTP/1.1 413" in front.line.wire.written[-1]
        assert front.seen() == slow.seen()


def waits(asked: asyncio.Event, gone: asyncio.Event) -> Script:
    """A script that answers two requests and then none until its connection is closed."""

    async def script(peer: Peer) -> None:
        for _ in range(2):
            await peer.head()
            await peer.send(OK)
        await peer.head()
        asked.set()
        await peer.closed()
        gone.set()

    return script


async def test_a_client_that_leaves_lets_the_upstream_go() -> None:
    asked, gone = asyncio.Event(), asyncio.Event()
    async with fronts(waits(asked, gone)) as (front, _):
        await front.send(READ)
        await front.send(READ)
        front.line.protocol.data_received(READ)
        await asked.wait()
        assert len(front.line.concurrent) == 1

        front.line.protocol.connection_lost(None)

        await asyncio.wait_for(gone.wait(), 20)
        assert len(front.line.concurrent) == 0
        assert "client_disconnected" in front.line.log.lines[-1]


async def test_an_upstream_that_is_too_slow_is_told_of_once() -> None:
    async with fronts(waits(asyncio.Event(), asyncio.Event())) as both:
        for front in both:
            for _ in range(3):
                await front.send(READ)

        assert b"HTTP/1.1 504" in b"".join(both[0].line.wire.written)
        assert both[0].seen() == both[1].seen()


async def test_requests_that_follow_in_the_same_octets_are_answered_in_their_order() -> None:
    async with fronts(answers(OK, OK.replace(b"ok", b"no"))) as both:
        for front in both:
            await front.send(READ)
            await front.send(READ + request(path="/v2.1/t1/flavors", fields=ALICE) + READ)
            await until(lambda: len(front.line.log.lines) == 4)  # noqa: B023 - used in this turn

        assert both[0].seen() == both[1].seen()


async def test_the_last_answer_of_a_server_that_leaves_says_so() -> None:
    asked, go = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        while True:
            await peer.head()
            if len(peer.heads) == 3:
                asked.set()
                await go.wait()
            await peer.send(OK)

    async with fronts(script) as (front, _):
        await front.send(READ)
        await front.send(READ)
        front.line.protocol.data_received(READ)
        await asked.wait()

        front.line.protocol.shutdown()
        go.set()

        await until(lambda: front.line.wire.closed)
        answer = b"".join(front.line.wire.written[-2:])
        assert b"connection: close" in answer
        assert answer.endswith(b"ok")
