"""Readers of one flight, over real sockets: no pace decides for others, no field of one reaches another."""

import asyncio

import pytest

from tests.unit.cache.wire import (
    CAROLS_TOKEN,
    ITEM,
    PLAIN_ROUTE,
    TOKEN,
    Client,
    Origin,
    Wired,
    response,
    wired,
)
from tests.unit.forward.scripted import Peer

BIG = 8 * 2**20
ANNOUNCED = response(b"x" * BIG)
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    + (b"10000\r\n" + b"x" * 65536 + b"\r\n") * (BIG // 65536)
    + b"0\r\n\r\n"
)
LARGE = pytest.mark.parametrize("answer", [ANNOUNCED, CHUNKED], ids=["announced", "chunked"])
STALLED = {"receive_buffer": 4096}


async def leader_and_joiner(proxy: Wired, origin: Origin, *, stalled: str) -> Client:
    """Let two reads of one thing wait for the origin, one of whom reads nothing; return the other."""
    origin.open.clear()
    slow = await proxy.client(**STALLED)
    healthy = await proxy.client()
    first, second = (slow, healthy) if stalled == "leader" else (healthy, slow)
    asked = len(proxy.upstream.heads)
    first.send("GET", ITEM)
    await proxy.flying(asked + 1)
    second.send("GET", ITEM)
    await asyncio.sleep(0.05)
    origin.open.set()
    return healthy


@LARGE
@pytest.mark.parametrize("warm", [True, False], ids=["lane", "line"])
@pytest.mark.parametrize("stalled", ["leader", "joiner"])
async def test_who_does_not_read_holds_nobody_up(answer: bytes, stalled: str, warm: bool) -> None:
    origin = Origin(response(b"ok"))
    async with wired(origin, PLAIN_ROUTE, fast=warm) as proxy:
        await proxy.ask(path="/v2.1/t1/servers/7")  # leaves an idle connection, which the lane takes
        origin.answer = answer
        healthy = await leader_and_joiner(proxy, origin, stalled=stalled)

        async with asyncio.timeout(20):
            assert len((await healthy.answer()).body) == BIG


async def test_while_all_readers_stall_an_endless_answer_is_held_back() -> None:
    sent = 0

    async def endless(peer: Peer) -> None:
        nonlocal sent
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while sent < 64 * 2**20:
            await peer.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            sent += 65536
        await peer.send(b"0\r\n\r\n")

    async with wired(endless, PLAIN_ROUTE) as proxy:
        stalled = await proxy.client(**STALLED)
        stalled.send("GET", ITEM)
        await proxy.flying()
        for _ in range(3):
            (await proxy.client(**STALLED)).send("GET", ITEM)
        async with asyncio.timeout(20):
            before = -1
            while before != sent:
                before = sent
                await asyncio.sleep(0.3)

    assert sent < 32 * 2**20


async def test_a_condition_on_an_answer_that_outgrows_its_bound_is_answered() -> None:
    async with wired(Origin(CHUNKED), PLAIN_ROUTE) as proxy:
        async with asyncio.timeout(20):
            answer = await proxy.ask("GET", 'If-None-Match: "1"')

    assert (answer.status, len(answer.body)) == (200, BIG)


async def test_after_an_answer_that_is_too_large_reads_fly_alone() -> None:
    origin = Origin(ANNOUNCED)
    async with wired(origin, PLAIN_ROUTE) as proxy:
        await proxy.ask()
        origin.answer = response(b"ok")
        origin.open.clear()
        clients = [await proxy.client() for _ in range(3)]
        for client in clients:
            client.send("GET", ITEM)
        await proxy.flying(4)
        origin.open.set()

        assert [(await client.answer()).body for client in clients] == [b"ok"] * 3


MARKED = 'Cache-Control: max-age=60, {}="X-Secret, X-Other"'


@pytest.mark.parametrize("directive", ["private", "no-cache"])
@pytest.mark.parametrize("warm", [True, False], ids=["lane", "line"])
async def test_fields_for_one_reader_are_not_sent_to_those_who_join(directive: str, warm: bool) -> None:
    origin = Origin(response(b"ok"))
    async with wired(origin, PLAIN_ROUTE, fast=warm) as proxy:
        await proxy.ask(path="/v2.1/t1/servers/7")
        origin.answer = response(
            b"ok", MARKED.format(directive), "X-Secret: of-alice", "x-other: 1", "Set-Cookie: a=1", "X-All: 1"
        )
        origin.open.clear()
        clients = [await proxy.client() for _ in range(3)]
        clients[0].send("GET", ITEM)
        await proxy.flying(2)
        for client in clients[1:]:
            client.send("GET", ITEM)
        await asyncio.sleep(0.05)
        origin.open.set()
        leader, *joined = [await client.answer() for client in clients]
        later = await proxy.ask()

    assert leader.fields["x-secret"] == "of-alice"
    for answer in (*joined, later):
        assert not {"x-secret", "x-other", "set-cookie"} & answer.fields.keys()
        assert answer.fields["x-all"] == "1"
    assert "collapsed" in joined[0].cache_status


async def test_a_read_that_wants_news_does_not_join() -> None:
    origin = Origin(response(b"ok"))
    origin.open.clear()
    async with wired(origin, PLAIN_ROUTE) as proxy:
        clients = [await proxy.client() for _ in range(3)]
        for number, field in enumerate(("X: y", "Cache-Control: no-cache", "Cache-Control: max-age=0"), 1):
            clients[number - 1].send("GET", ITEM, field)
            await proxy.flying(number)
        origin.open.set()

        assert [(await client.answer()).body for client in clients] == [b"ok"] * 3


async def test_another_project_does_not_join() -> None:
    origin = Origin(response(b"ok"))
    origin.open.clear()
    async with wired(origin, PLAIN_ROUTE) as proxy:
        alice, carol = await proxy.client(), await proxy.client()
        alice.send("GET", ITEM)
        await proxy.flying()
        carol.send("GET", ITEM, token=CAROLS_TOKEN)
        refused = await carol.answer()

        assert refused.status == 403
        assert len(proxy.upstream.heads) == 1
        origin.open.set()
        await alice.answer()


WRITTEN = ("X-Forwarded-For", "Forwarded", "Via", "X-OpenStack-Request-ID", "Expect", "traceparent")


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize("warm", [True, False], ids=["lane", "line"])
async def test_an_answer_that_varies_on_what_is_written_on_the_way_is_not_stored(
    name: str, warm: bool
) -> None:
    origin = Origin(response(b"ok", f"Vary: Accept, {name.lower()}"))
    async with wired(origin, PLAIN_ROUTE, fast=warm) as proxy:
        for number in range(1, 4):
            await proxy.ask()
            assert len(proxy.upstream.heads) == number


def field_of(head: bytes, name: str) -> list[bytes]:
    """Return the values of a field in the head of a request."""
    lines = [line.partition(b":") for line in head.split(b"\r\n")[1:]]
    return [value.strip() for found, _, value in lines if found.lower() == name.encode()]


async def test_for_every_field_that_the_origin_varies_on_a_hit_means_that_it_would_get_the_same() -> None:
    origin = Origin(response(b"ok"))
    async with wired(origin, PLAIN_ROUTE) as proxy:
        await proxy.ask()
        lines = proxy.upstream.heads[0].split(b"\r\n")[1:-2]
        names = {line.partition(b":")[0].decode().lower() for line in lines} - {"host", "x-auth-token"}
        for name in sorted(names | {"accept-language", "x-forwarded-ssl", "te"}):
            origin.answer = response(b"ok", f"Vary: {name}")
            item = f"{ITEM}-{name}"
            await proxy.ask(path=item)
            stored_for = proxy.upstream.heads[-1]
            proxy.wait(12)
            again = await proxy.ask("GET", f"{name}: 1", path=item)
            proxy.wait(12)
            await proxy.ask("GET", f"{name}: 1", path="/v2.1/t1/servers/7")

            would_get = field_of(proxy.upstream.heads[-1], name)
            assert "; hit" not in again.cache_status or would_get == field_of(stored_for, name), name


@pytest.mark.parametrize("fast", [True, False], ids=["lane", "line"])
async def test_a_token_that_an_answer_varies_on_is_told_to_no_operator(fast: bool) -> None:
    async with wired(Origin(response(b"ok", "Vary: X-Auth-Token")), PLAIN_ROUTE, fast=fast) as proxy:
        for _ in range(3):
            await proxy.ask()
        (entry,) = proxy.line.cache.inventory.entries("i1")

    assert len(proxy.upstream.heads) == 1
    assert TOKEN not in repr(entry)
