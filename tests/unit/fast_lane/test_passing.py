"""What is passed on without a task comes to the same as what the line passes on.

Two identical lines, one with the fast lane and one without, each in front of an upstream that does the
same, get the same requests. What clients, upstream, log and metrics see must be the same.
"""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metaproxy.fast_lane.plans import PassedOn, Remembered, Section
from metaproxy.identity.revocation import Revocation
from metaproxy.identity.static import StaticTokens
from tests.unit.fast_lane.fronts import ALICE, OK, READ, SCRIPTS, SERVERS, fronts, in_pieces, until
from tests.unit.fast_lane.lines import BOUND_TOKEN, CAROLS, CAROLS_TOKEN, CONFIGURED, TOKEN, request
from tests.unit.forward.scripted import Peer, Script, answers

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
        front.line.forbid_parsing()

        await front.send(READ)
        await slow.send(READ)

        assert front.seen() == slow.seen()


async def test_another_read_with_the_same_header_section_is_passed_on_without_parsing_it() -> None:
    async with fronts(answers(OK)) as (front, slow):
        for number in range(3):
            await front.send(request(path=f"{SERVERS}{number}", fields=ALICE))
            await slow.send(request(path=f"{SERVERS}{number}", fields=ALICE))
        front.line.forbid_parsing()

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
        assert isinstance(plan, PassedOn | Section)
        kept = plan.passed.before + plan.passed.between + plan.passed.after
        assert b"x-user-id: alice" in kept
        assert b"x-auth-token: " in plan.passed.before
        assert TOKEN.encode() not in kept + repr(plan).encode()


OTHER_PATHS = st.sampled_from(
    [f"{SERVERS}{number}" for number in range(6)]
    + ["/v2.1/t1/flavors", "/v2.1/t1/flavors.json", f"{SERVERS}?a=1&a=%2e", "/v2.1/servers/", "/about", "/"]
    + ["/v2.1/t1/./servers", "/v2.1//servers", "/V2.1/t1/images/i1", "/v2.1/t1/%73ervers", "/v2.1/t1/a;b"]
    + ["/v2.1/t2/servers", "/v2.1/t1/images/i1/metadata", "/v2.1/t1/images/i1/metadata/label"]
)
OTHER_METHODS = st.sampled_from(["GET"] * 5 + ["HEAD", "DELETE"])
BOUND = [f"X-Auth-Token: {BOUND_TOKEN}", "Accept: application/json"]
OTHER_FIELDS = st.sampled_from(
    [ALICE] * 4 + [ALICE[:1], ["X-Auth-Token: bob"], ["X-Auth-Token: x"], [], BOUND, BOUND]
)


async def to_each_method_its_own(peer: Peer) -> None:
    """A script that answers HEAD without a body."""
    while True:
        head = await peer.head()
        await peer.send(OK.removesuffix(b"ok") if head.startswith(b"HEAD") else OK)


@pytest.mark.parametrize("configured", CONFIGURED)
@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(OTHER_METHODS, OTHER_PATHS, OTHER_FIELDS), min_size=4, max_size=20))
async def test_whatever_is_read_both_ways_tell_the_same(
    configured: dict[str, bool], reads: list[tuple[str, str, list[str]]]
) -> None:
    async with fronts(to_each_method_its_own, **configured) as both:
        for front in both:
            for method, path, fields in reads:
                await front.send(request(method, path, fields=fields))

        assert both[0].seen() == both[1].seen()


OTHERS = "99ab1b2c3d4e"
"""A project's id of the same kind as Carol's."""


@pytest.mark.parametrize(
    ("another", "status"),
    [
        (f"/v2.1/{OTHERS}/servers/7", b"403"),
        (f"/v2.1/{OTHERS}/images/i2345678/metadata/label", b"403"),
        (f"/v2.1/{CAROLS}/servers/../7", b"400"),
        (f"/v2.1/{CAROLS}//servers/7", b"400"),
        (f"/v2.1/{CAROLS}/servers/8", b"200"),
        (f"/v2.1/{CAROLS}/images/i9999999/metadata/label", b"200"),
    ],
)
async def test_whose_a_path_is_and_whether_it_is_ambiguous_is_asked_of_each_path_of_a_kind(
    another: str, status: bytes
) -> None:
    carol = [f"X-Auth-Token: {CAROLS_TOKEN}"]
    async with fronts(answers(OK)) as both:
        for front in both:
            for number in range(4):
                await front.send(request(path=f"/v2.1/{CAROLS}/servers/{number}", fields=carol))
            for number in range(3):
                item = f"/v2.1/{CAROLS}/images/i000000{number}/metadata/label"
                await front.send(request(path=item, fields=carol))
            await front.send(request(path=another, fields=carol))

        fast, slow = both
        [section] = fast.line.lane._planner.sections._plans.values()
        assert len(section.kinds) == 2
        assert fast.line.wire.written[-1].startswith(b"HTTP/1.1 " + status)
        assert fast.seen() == slow.seen()


@pytest.mark.parametrize(
    ("another", "status"),
    [
        ("/v2.1/t1/servers/9", b"200"),
        ("/v2.1/t1/servers/9/", b"401"),
        ("/v2.1/t1/servers", b"401"),
        ("/v2.1/t1/flavors/9", b"401"),
        ("/v2/t1/servers/9", b"401"),
        ("/v2.1/servers/9", b"401"),
        ("/v2.1/t1/servers/9?a=1", b"200"),
        ("/v2.1/t1/images/i1/metadata/label", b"200"),
        ("/v2.1/t1/images/i1/metadata/other", b"401"),
    ],
)
async def test_access_rules_are_judged_for_every_path_whatever_came_before(
    another: str, status: bytes
) -> None:
    async with fronts(answers(OK)) as both:
        for front in both:
            for number in range(4):
                for fields in (ALICE, BOUND):
                    await front.send(request(path=f"{SERVERS}{number}", fields=fields))
            front.line.clock.now += 60  # the rates have room again
            await front.send(request(path=another, fields=ALICE))
            for _ in range(4):
                await front.send(request(path=another, fields=BOUND))
                assert front.line.wire.written[-1].startswith(b"HTTP/1.1 " + status)
            await front.send(request("HEAD", another, fields=BOUND))
            assert front.line.wire.written[-1].startswith(b"HTTP/1.1 401")

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
        assert isinstance(plan, Remembered)
        assert b"HTTP/1.1 413" in front.line.wire.written[-1]
        assert front.seen() == slow.seen()


async def test_a_check_that_fails_ends_the_request_and_holds_nothing() -> None:
    def breaks() -> float:
        raise LookupError

    async with fronts(answers(OK)) as (front, slow):
        for line_of in (front, slow):
            for octets in (READ, READ, READ, request(path=f"{SERVERS}8", fields=ALICE)):
                await line_of.send(octets)
            rates = line_of.line.rates
            clock, rates.monotonic = rates.monotonic, breaks
            for octets in (
                READ,
                request(path=f"{SERVERS}9", fields=ALICE),
                request(fields=["X-New: 1", *ALICE]),
            ):
                await line_of.send(octets)
                assert line_of.line.wire.written[-1].startswith(b"HTTP/1.1 500")
                assert len(line_of.line.concurrent) == 0
            assert [use.busy for use in line_of.transport.uses()] == [0]
            rates.monotonic = clock
            await line_of.send(READ)
            assert line_of.line.wire.written[-1].startswith(b"HTTP/1.1 200")

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
    async with fronts(waits(asyncio.Event(), asyncio.Event()), read_timeout=0.5) as both:
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


async def test_a_read_that_is_handed_to_a_task_gives_all_back_though_the_task_is_cancelled_at_once() -> None:
    async with fronts(in_pieces(OK, OK[:-1], OK[-1:])) as (front, _):
        await front.send(READ)
        front.line.protocol.data_received(READ)
        tasks = front.line.protocol.tasks
        await until(lambda: bool(tasks))
        for task in list(tasks):
            task.cancel()
        await until(lambda: not tasks)

        assert len(front.line.concurrent) == 0
        assert [target.busy for target in front.forward.targets] == [0]
        assert front.line.log.lines[-1].count("'shutdown'") == 1
