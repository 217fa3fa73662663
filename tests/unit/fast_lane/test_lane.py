"""The fast lane gives what the line gives: the same bytes, log lines, numbers and charges.

Two connections to two identical lines, one with the fast lane and one without, get the same bytes in
the same pieces at the same times. Nothing but the request ids, which are random, may differ.
"""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metaproxy.fast_lane.plans import Remembered
from metaproxy.identity.revocation import Revocation
from tests.unit.fast_lane.lines import BOUND_TOKEN, CONFIGURED, ITEM, Line, Wire, request

FIELDS = st.lists(
    st.sampled_from(
        [
            "Accept: application/json",
            "Accept: application/xml",
            "Cache-Control: no-cache",
            "Cache-Control: max-age=1",
            "Cache-Control: only-if-cached",
            'If-None-Match: "2c09f6909b51707f54386d9345f6379d"',
            "If-None-Match: *",
            "Range: bytes=0-3",
            "Connection: close",
            "Connection: keep-alive",
            "X-Forwarded-For: 6.6.6.6",
            "X-Roles: admin",
            "X_Roles: admin",
            "X-OpenStack-Request-ID: req-11111111-2222-4333-8444-555555555555",
            "Expect: 100-continue",
            "Origin: https://horizon.example",
            "Origin: https://elsewhere.example",
            "Content-Length: 0",
        ]
    ),
    max_size=3,
    unique_by=lambda line: line.split(":")[0],
)
TOKENS = st.sampled_from(
    [[]]
    + [["X-Auth-Token: alice"]] * 6
    + [["X-Auth-Token: bob"], ["X-Auth-Token: x"]]
    + [[f"X-Auth-Token: {BOUND_TOKEN}"]] * 2
)
PATHS = st.sampled_from(
    [ITEM] * 6
    + [f"{ITEM}?a=1", "/v2.1/t1/images/i1/metadata/missing", "/v2.1/t1/images/i1/metadata/private"]
    + ["/v2.1/t1/images/i1/metadata"] * 2
    + ["/v2.1/t1/images/i1/metadata/%6cabel", "/v2.1/t2/images/i1/metadata/label", "/v2.1/t1/images/i1"]
    + ["/v2.1/t1/../t1", f"{ITEM}.xml", "/v2.1/t1/servers", "/v2.1/t1/servers"]
)
METHODS = st.sampled_from(["GET"] * 6 + ["HEAD", "HEAD", "DELETE", "PATCH"])


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    fields = [*draw(TOKENS), *draw(FIELDS)]
    version = draw(st.sampled_from(["1.1"] * 5 + ["1.0"]))
    if draw(st.integers(0, 9)) == 0 and not any(line.startswith("Content-Length") for line in fields):
        return request("PUT", ITEM, version, fields, '{"meta": {"label": "x"}}')
    return request(draw(METHODS), draw(PATHS), version, fields)


EVENTS: dict[str, Callable[[Line], Any]] = {
    "none": lambda line: None,
    "a token is revoked": lambda line: line.validator.revoke(Revocation.of_token("alice")),
    "revocations were missed": lambda line: line.validator.doubt(),
    "everything is purged": lambda line: line.cache.inventory.purge_all(),
    "an image is purged": lambda line: line.cache.inventory.purge_image("i1"),
    "purges were missed": lambda line: line.cache._trust.end(),
    "a consumer gets its rates anew": lambda line: line.rates.reset("project:t1"),
}


async def happen(event: str, line: Line) -> None:
    """Let ``event`` happen to ``line``."""
    happening = EVENTS[event](line)
    if inspect.isawaitable(happening):
        await happening


STEPS = st.lists(
    st.tuples(
        st.lists(requests(), min_size=1, max_size=3),
        st.sampled_from([0] * 3 + [10, 60]),
        st.floats(0, 40),
        st.integers(1, 5),
        st.sampled_from([*["none"] * len(EVENTS), *EVENTS]),
    ),
    min_size=1,
    max_size=8,
)


@pytest.mark.parametrize("configured", CONFIGURED)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS)
async def test_the_lane_answers_charges_counts_and_logs_as_the_line_does(
    configured: Any, steps: list[tuple[list[bytes], int, float, int, str]]
) -> None:
    fast, slow = Line(fast=True, **configured), Line(fast=False, **configured)

    for pipelined, cut, pause, times, event in steps:
        octets = b"".join(pipelined)
        for line in (fast, slow):
            for _ in range(times):
                await line.send([octets[:cut], octets[cut:]] if cut else [octets])
            line.clock.now += pause
            await happen(event, line)

    assert fast.seen() == slow.seen()


@pytest.mark.parametrize(
    ("again", "status"),
    [
        (request(fields=["X-Auth-Token: alice"]), b"200"),
        (request("HEAD", fields=["X-Auth-Token: alice"]), b"200"),
        (request(fields=["X-Auth-Token: alice", "If-None-Match: *"]), b"304"),
        (request(fields=["X-Auth-Token: bob"]), b"403"),
        (request(), b"401"),
        (request(path="/a/../b"), b"400"),
    ],
)
async def test_what_memory_can_decide_is_answered_without_a_task(again: bytes, status: bytes) -> None:
    line = Line(fast=True)
    for token in ("alice", "bob"):
        await line.send([request(fields=[f"X-Auth-Token: {token}"])])
    line.wire.written.clear()

    line.receive(again)

    [answer] = line.wire.written
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert not line.protocol.tasks


ALICE = request(fields=["X-Auth-Token: alice", "Accept: application/json"])


async def repeated(line: Line, octets: bytes = ALICE) -> int:
    """Send ``octets`` until they have a plan; return how many plans there are."""
    for _ in range(4):
        await line.send([octets])
    line.wire.written.clear()
    return len(line.lane._planner.plans)


async def test_octets_that_come_again_are_not_parsed_again() -> None:
    line = Line(fast=True)
    assert await repeated(line) == 1

    line.forbid_parsing()
    line.receive(ALICE)

    [answer] = line.wire.written
    assert answer.startswith(b"HTTP/1.1 200")


async def test_octets_that_come_again_are_counted_in_a_store_without_a_task_and_without_parsing() -> None:
    line = Line(fast=True, asking=True)
    assert await repeated(line) == 1

    line.forbid_parsing()
    line.receive(ALICE)
    assert line.is_answering
    assert not line.protocol.tasks
    assert not line.wire.written
    await line.send([])

    [answer] = line.wire.written
    assert b"cache-status: metaproxy; hit" in answer
    assert b'ratelimit: "reads";r=7;' in answer


async def test_a_head_that_a_store_has_refused_twice_is_not_parsed_again() -> None:
    line = Line(fast=True, asking=True)
    for _ in range(14):
        await line.send([ALICE])
    other = ALICE.replace(b"\r\n\r\n", b"\r\nUser-Agent: other\r\n\r\n")
    for _ in range(2):
        await line.send([other])
    line.wire.written.clear()

    line.forbid_parsing()
    await line.send([other])

    assert b"".join(line.wire.written).startswith(b"HTTP/1.1 413")


async def test_a_client_that_leaves_while_a_store_is_asked_is_answered_to_nobody_and_recorded() -> None:
    line = Line(fast=True, asking=True)
    await repeated(line)
    logged = len(line.log.lines)

    line.receive(ALICE)
    line.wire.closed = True
    line.protocol.connection_lost(None)
    while len(line.log.lines) == logged:
        await asyncio.sleep(0)

    assert not line.wire.written
    assert not len(line.concurrent)


async def test_an_answer_that_waited_for_a_store_says_that_the_server_leaves() -> None:
    line = Line(fast=True, asking=True)
    await repeated(line)

    line.receive(ALICE)
    line.protocol.shutdown()
    await line.send([])

    [answer] = line.wire.written
    assert b"connection: close" in answer
    assert line.wire.closed


async def test_a_store_that_fails_to_decide_ends_the_request_with_500(
    caplog: pytest.LogCaptureFixture,
) -> None:
    line = Line(fast=True, asking=True)
    await repeated(line)

    line.store.fails = True
    line.receive(ALICE)
    await line.send([])

    [answer] = line.wire.written
    assert answer.startswith(b"HTTP/1.1 500")
    assert not len(line.concurrent)


async def test_a_request_that_is_broken_off_while_it_waits_is_recorded_as_aborted() -> None:
    line = Line(fast=True, asking=True)
    line.receive(ALICE)
    [task] = line.protocol.tasks
    await asyncio.sleep(0)

    task.cancel()
    await asyncio.wait([task])

    [logged] = line.log.lines
    assert "outcome='aborted', reason='shutdown'" in logged


async def test_a_plan_holds_no_token() -> None:
    line = Line(fast=True)
    await repeated(line)

    [plan] = line.lane._planner.plans._plans.values()

    assert isinstance(plan, Remembered)
    assert plan.read is not None
    kept = repr((plan.scope, plan.read._request, plan.read._scope))
    assert "application/json" in kept
    assert "x-auth-token" not in kept


@pytest.mark.parametrize(
    "octets",
    [
        request(fields=["X-Auth-Token: alice", "Connection: close"]),
        request(fields=["X-Auth-Token: alice"], version="1.0"),
        request(fields=["X-Auth-Token: alice", "X-OpenStack-Request-ID: req-1"]),
        request(fields=["X-Auth-Token: alice", "Traceparent: 00-1-2-01"]),
        request(fields=["X-Auth-Token: alice", "X-Long: " + "y" * 3000]),
        ALICE + ALICE,
    ],
)
async def test_what_will_not_come_again_alone_gets_no_plan(octets: bytes) -> None:
    assert await repeated(Line(fast=True), octets) == 0


async def test_a_body_that_looks_like_a_request_is_none() -> None:
    line = Line(fast=True)
    await repeated(line)

    line.protocol.data_received(request("PUT", fields=["Content-Length: 500"]))
    seen = len(line.log.lines)
    line.protocol.data_received(ALICE)
    await asyncio.sleep(0)

    assert len(line.log.lines) == seen or b"401" in b"".join(line.wire.written)
    assert b"HTTP/1.1 200" not in b"".join(line.wire.written)


async def test_a_revoked_token_ends_its_plans() -> None:
    line = Line(fast=True)
    await repeated(line)

    line.validator.revoke(Revocation.of_token("alice"))
    await line.send([ALICE])

    assert b"".join(line.wire.written).startswith(b"HTTP/1.1 401")


@pytest.mark.parametrize(
    ("octets", "status"),
    [(request(fields=["X-Auth-Token: x"]), b"401"), (ALICE, b"413")],
)
async def test_what_was_refused_is_refused_again_without_parsing(octets: bytes, status: bytes) -> None:
    line = Line(fast=True)
    for _ in range(14):
        await line.send([octets])
    line.wire.written.clear()

    line.forbid_parsing()
    line.receive(octets)

    assert b"".join(line.wire.written).startswith(b"HTTP/1.1 " + status)


SERVERS = request(path="/v2.1/t1/servers", fields=["X-Auth-Token: alice"])
"""What no route of the cache is for, and the rates are."""


async def test_what_is_never_stored_is_refused_again_without_parsing() -> None:
    line = Line(fast=True)
    for _ in range(14):
        await line.send([SERVERS])
    line.wire.written.clear()

    line.forbid_parsing()
    line.receive(SERVERS)

    assert b"".join(line.wire.written).startswith(b"HTTP/1.1 413")


async def test_the_plan_to_refuse_ends_when_there_is_room() -> None:
    line = Line(fast=True)
    for _ in range(14):
        await line.send([SERVERS])
    line.clock.now += 60
    line.wire.written.clear()

    await line.send([SERVERS])

    assert b"".join(line.wire.written).startswith(b"HTTP/1.1 200")
    assert b"r=11;" in b"".join(line.wire.written)
    assert len(line.lane._planner.plans) == 0


async def test_a_collection_that_must_be_counted_is_charged_once_each_time() -> None:
    line = Line(fast=True)
    octets = request(path="/v2.1/t1/images/i1/metadata", fields=["X-Auth-Token: alice"])

    for _ in range(5):
        await line.send([octets])

    assert b"r=7;" in line.wire.written[-1]


async def test_what_was_purged_is_not_answered_by_a_plan() -> None:
    line = Line(fast=True)
    await repeated(line)

    await line.cache.inventory.purge_all()

    assert line.lane.repeat(ALICE, line.protocol.address, "http") is None


async def test_what_is_used_by_a_plan_stays_when_room_is_needed() -> None:
    line = Line(fast=True)
    await repeated(line)
    [stored] = line.stored()
    line.cache._store.max_bytes = 2 * line.cache._store.bytes

    for number in range(6):
        await line.send([ALICE, request(path=f"{ITEM}{number}", fields=["X-Auth-Token: alice"])])

    assert stored in line.stored()


async def test_a_plan_is_for_one_address() -> None:
    line = Line(fast=True)
    await repeated(line)

    line.wire = Wire("198.51.100.9")
    line.protocol = line.connect(line.wire)
    await line.send([ALICE])

    assert "198.51.100.9" in line.log.lines[-1]


async def test_what_memory_cannot_decide_takes_the_line() -> None:
    line = Line(fast=True)

    await line.send([SERVERS])  # the token is known from now on

    line.protocol.data_received(request(fields=["X-Auth-Token: alice"]))

    assert len(line.protocol.tasks) == 1
    await line.send([])


@pytest.mark.parametrize("fast", [True, False])
async def test_what_follows_the_last_answer_of_a_connection_is_not_looked_at(fast: bool) -> None:
    line = Line(fast=fast)
    await line.send([request(fields=["X-Auth-Token: alice"])])

    last = request(fields=["X-Auth-Token: alice", "Connection: close"])
    await line.send([last + request("PUT", body="{}", fields=["X-Auth-Token: alice"])])

    assert len(line.log.lines) == 2


async def test_a_client_that_does_not_read_takes_the_line() -> None:
    line = Line(fast=True)
    await line.send([request(fields=["X-Auth-Token: alice"])])

    line.protocol.pause_writing()
    line.protocol.data_received(request(fields=["X-Auth-Token: alice"]))

    assert len(line.protocol.tasks) == 1
    line.protocol.resume_writing()
    await line.send([])


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize(("token", "before", "kept"), [("x", b"401", 15), ("bob", b"403", 15)])
async def test_a_rate_before_identity_holds_for_a_refusal_that_comes_again(
    fast: bool, token: str, before: bytes, kept: int
) -> None:
    line = Line(fast=fast, early=True)

    for _ in range(20):
        await line.send([request(fields=[f"X-Auth-Token: {token}"])])

    statuses = [written[9:12] for written in line.wire.written if written.startswith(b"HTTP/1.1 ")]
    assert statuses == [before] * kept + [b"413"] * (20 - kept)


@pytest.mark.parametrize("token", ["alice", "x"])
async def test_a_rate_before_identity_counts_the_same_for_a_head_that_is_remembered(token: str) -> None:
    fast, slow = Line(fast=True, early=True), Line(fast=False, early=True)

    for line in (fast, slow):
        for moment in range(24):
            await line.send([request(fields=[f"X-Auth-Token: {token}"])])
            line.clock.now += moment % 3

    assert len(fast.lane._planner.plans) == 1
    assert fast.seen() == slow.seen()
