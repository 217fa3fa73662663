"""What fills the cache without a task comes to the same as what the line fills it with."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.fast_lane.fronts import ALICE, OK, READ, SCRIPTS, SERVERS, fronts, until
from tests.unit.fast_lane.lines import TOKEN, request
from tests.unit.forward.scripted import Peer, Script, answers

ITEMS = "/v2.1/t1/images/i1/metadata"


@pytest.mark.parametrize("name", SCRIPTS)
async def test_what_fills_the_cache_fills_it_both_ways_alike(name: str) -> None:
    async with fronts(SCRIPTS[name]) as both:
        for front in both:
            for path in (
                SERVERS,
                f"{ITEMS}/a",
                f"{ITEMS}/b",
                f"{ITEMS}/a",
                SERVERS,
                f"{ITEMS}/c",
                f"{ITEMS}/b",
            ):
                await front.send(request("GET", path, fields=ALICE))

        assert both[0].seen() == both[1].seen()
        assert both[0].line.stored() == both[1].line.stored()


@pytest.mark.parametrize(
    "fields",
    [
        b"Cache-Control: no-store",
        b"Cache-Control: private",
        b"Cache-Control: max-age=0",
        b"Vary: X-Auth-Token",
        b"Vary: *",
        b"Age: 100",
        b'ETag: "1"',
        b"Connection: X-Once\r\nX-Once: 1",
    ],
)
async def test_an_answer_with_these_fields_is_kept_both_ways_alike(fields: bytes) -> None:
    answer = OK.replace(b"Content-Type: a/b", b"Content-Type: a/b\r\n" + fields)
    async with fronts(answers(answer)) as both:
        for front in both:
            for path in (SERVERS, f"{ITEMS}/a", f"{ITEMS}/b", f"{ITEMS}/a", f"{ITEMS}/b"):
                await front.send(request("GET", path, fields=ALICE))

        assert both[0].seen() == both[1].seen()
        assert both[0].line.stored() == both[1].line.stored()


async def test_a_read_that_fills_the_cache_takes_no_task() -> None:
    async with fronts(answers(OK)) as (front, _):
        await front.send(READ)

        front.line.protocol.data_received(request(path=f"{ITEMS}/a", fields=ALICE))
        assert not front.line.protocol.tasks
        await until(front.is_calm)

        assert front.line.wire.written[-1].endswith(b"ok")
        assert front.line.stored() == [b"/v2.1/t1/images/i1/metadata/a"]


async def test_with_a_known_header_section_what_fills_the_cache_is_not_parsed() -> None:
    async with fronts(answers(OK)) as (front, slow):
        for number in range(3):
            for line in (front, slow):
                await line.send(request(path=f"{ITEMS}/{number}", fields=ALICE))
        reader = front.line.forbid_parsing()
        await front.send(request(path=f"{ITEMS}/label", fields=ALICE))
        front.line.protocol.reader = reader
        await slow.send(request(path=f"{ITEMS}/label", fields=ALICE))

        assert f"{ITEMS}/label".encode() in front.line.stored()
        assert TOKEN.encode() in front.origin.heads[-1]
        assert front.seen() == slow.seen()


KEYS = st.sampled_from(["a", "b", "c", "a?x=1", "a.xml", "%61", "A"])
WHO = st.sampled_from(
    [ALICE] * 3 + [[*ALICE, "Accept-Language: de"], ["X-Auth-Token: bob"], ["Range: bytes=0-0"]]
)
SAYS = st.sampled_from(
    [b"Vary: Accept-Language", b"Vary: X-Auth-Token", b"Cache-Control: max-age=1", b"X: y"]
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(KEYS, WHO, st.sampled_from([0] * 4 + [30])), min_size=4, max_size=14), SAYS)
async def test_whatever_is_read_and_answered_both_ways_fill_the_cache_alike(
    reads: list[tuple[str, list[str], int]], says: bytes
) -> None:
    answer = OK.replace(b"Content-Type: a/b", b"Content-Type: a/b\r\n" + says)
    async with fronts(answers(answer)) as both:
        for front in both:
            for key, who, pause in reads:
                await front.send(request(path=f"{ITEMS}/{key}", fields=who))
                front.line.clock.now += pause

        assert both[0].seen() == both[1].seen()
        assert both[0].line.stored() == both[1].line.stored()


def held(asked: asyncio.Event, go: asyncio.Event) -> Script:
    """A script that answers one request at once, and the second when it may."""

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(OK)
        await peer.head()
        asked.set()
        await go.wait()
        await peer.send(OK)

    return script


async def test_a_client_that_leaves_does_not_take_what_it_had_fetched() -> None:
    asked, go = asyncio.Event(), asyncio.Event()

    async with fronts(held(asked, go)) as (front, _):
        await front.send(READ)
        front.line.protocol.data_received(request(path=f"{ITEMS}/a", fields=ALICE))
        await asked.wait()

        front.line.protocol.connection_lost(None)
        assert len(front.line.concurrent) == 0
        assert "client_disconnected" in front.line.log.lines[-1]
        go.set()

        await until(lambda: front.line.stored() == [b"/v2.1/t1/images/i1/metadata/a"])


async def test_others_get_the_answer_that_a_read_without_a_task_has_asked_for() -> None:
    asked, go = asyncio.Event(), asyncio.Event()

    async with fronts(held(asked, go)) as (front, _):
        await front.send(READ)
        other = front.line.connect()
        front.line.protocol.data_received(request(path=f"{ITEMS}/a", fields=ALICE))
        await asked.wait()
        other.data_received(request(path=f"{ITEMS}/a", fields=ALICE))
        await asyncio.sleep(0)
        go.set()

        await until(lambda: front.is_calm() and not other.tasks)

        assert len(front.origin.heads) == 2
        assert [("collapsed" in line) for line in front.line.log.lines[-2:]].count(True) == 1


async def test_a_fetch_that_a_write_overtakes_is_not_stored() -> None:
    asked, go = asyncio.Event(), asyncio.Event()

    async with fronts(held(asked, go), answers(OK)) as (front, _):
        await front.send(READ)
        other = front.line.connect()
        front.line.protocol.data_received(request(path=f"{ITEMS}/a", fields=ALICE))
        await asked.wait()
        other.data_received(request("DELETE", f"{ITEMS}/a", fields=ALICE))
        await until(lambda: not other.tasks)
        go.set()

        await until(front.is_calm)

        assert front.line.stored() == []


async def test_a_fetch_that_is_under_way_when_the_cache_closes_ends() -> None:
    asked = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(OK)
        await peer.head()
        asked.set()
        await peer.closed()

    async with fronts(script) as (front, _):
        await front.send(READ)
        front.line.protocol.data_received(request(path=f"{ITEMS}/a", fields=ALICE))
        await asked.wait()
        front.line.protocol.connection_lost(None)

        await front.line.cache.close()
        await front.forward.close()

        await until(lambda: not front.line.cache.inventory.flights)
