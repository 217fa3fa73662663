"""What the log says of reads that a flight answers, fails, or keeps waiting."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from metaproxy.store.entries import Found
from tests.filters import caching
from tests.filters.caching import Time, make_cache
from tests.unit.cache.wire import ERROR_ROUTE, ITEM, Client, Origin, Wired, response, wired

BOTH_WAYS = pytest.mark.parametrize("fast", [True, False], ids=["lane", "line"])
WARM_UP = "/v2.1/t1/servers/s1"
WAITS = "'upstream': 2.0"


async def begun(proxy: Wired) -> Client:
    """Send a read of the item, and wait until it is worked on."""
    before = set(in_work(proxy))
    client = await proxy.client()
    client.send("GET", ITEM)
    while not set(in_work(proxy)) - before:
        await asyncio.sleep(0.001)
    for _ in range(3):  # its task has had its first turn
        await asyncio.sleep(0)
    return client


def in_work(proxy: Wired) -> list[Any]:
    """Return the connections whose requests are not answered."""
    connections: list[Any] = list(proxy.line.listening.connections)
    return [each for each in connections if each.answers.current is not None]


async def logged(proxy: Wired, number: int) -> list[str]:
    """Wait for ``number`` lines of the log."""
    while len(proxy.line.log.lines) < number:
        await asyncio.sleep(0.001)
    lines: list[str] = proxy.line.log.lines
    return lines


def number_of_waits(proxy: Wired) -> float:
    """Return how many waits for the upstream are counted."""
    return sum(
        sample.value
        for family in proxy.line.metrics.collect()
        for sample in family.samples
        if sample.name == "metaproxy_wait_duration_seconds_count" and sample.labels["stage"] == "upstream"
    )


@BOTH_WAYS
async def test_a_reader_who_leaves_is_logged_at_once_with_what_it_has_waited_for(fast: bool) -> None:
    origin = Origin()
    async with wired(origin, fast=fast) as proxy, asyncio.timeout(60):
        await proxy.ask(path=WARM_UP)
        origin.open.clear()
        reader = await begun(proxy)
        await proxy.flying(2)
        proxy.wait(2)
        reader.writer.transport.abort()

        *_, line = await logged(proxy, 2)
        counted = number_of_waits(proxy)
        origin.open.set()
        await proxy.calm()
        later = await proxy.ask()

    assert "client_disconnected" in line
    assert proxy.upstream.origin in line
    assert WAITS in line
    assert counted == 2
    assert later.cache_status.startswith("metaproxy; hit")
    assert later.body == b"old"


@BOTH_WAYS
@pytest.mark.parametrize("leaves_first", [True, False], ids=["leader", "follower"])
async def test_one_of_two_readers_may_leave(fast: bool, leaves_first: bool) -> None:
    origin = Origin()
    async with wired(origin, fast=fast) as proxy, asyncio.timeout(60):
        await proxy.ask(path=WARM_UP)
        origin.open.clear()
        readers = [await begun(proxy), await begun(proxy)]
        proxy.wait(2)
        leaver, stayer = readers if leaves_first else reversed(readers)
        leaver.writer.transport.abort()
        _, of_leaver = await logged(proxy, 2)
        origin.open.set()
        answer = await stayer.answer()
        _, _, of_stayer = await logged(proxy, 3)

    assert len(proxy.upstream.heads) == 2
    assert answer.body == b"old"
    for line in (of_leaver, of_stayer):
        assert proxy.upstream.origin in line
        assert WAITS in line
    assert "client_disconnected" in of_leaver
    assert "client_disconnected" not in of_stayer


async def two_readers_wait(proxy: Wired, origin: Origin) -> tuple[list[int], list[str]]:
    """Let two readers wait for one flight; return the statuses that they get, and their lines of the log."""
    origin.open.clear()
    readers = [await begun(proxy), await begun(proxy)]
    await proxy.flying(2)
    proxy.wait(2)
    origin.open.set()
    statuses = [(await reader.answer()).status for reader in readers]
    return statuses, (await logged(proxy, 3))[1:]


@BOTH_WAYS
async def test_all_who_wait_for_a_flight_that_fails_have_waited_for_its_target(fast: bool) -> None:
    origin = Origin(b"no HTTP\r\n\r\n")
    async with wired(origin, fast=fast) as proxy, asyncio.timeout(60):
        origin.answer = response()
        await proxy.ask(path=WARM_UP)
        origin.answer = b"no HTTP\r\n\r\n"
        statuses, lines = await two_readers_wait(proxy, origin)
        counted = number_of_waits(proxy)

    assert statuses == [502, 502]
    for line in lines:
        assert proxy.upstream.origin in line
        assert WAITS in line
    assert counted == 3


@BOTH_WAYS
async def test_readers_of_a_stale_answer_have_waited_for_the_upstream_that_fails(fast: bool) -> None:
    origin = Origin()
    async with wired(origin, ERROR_ROUTE, fast=fast) as proxy, asyncio.timeout(60):
        await proxy.ask()
        proxy.wait(2)
        origin.answer = response(status="503 Service Unavailable")
        statuses, lines = await two_readers_wait(proxy, origin)

    assert statuses == [200, 200]
    for line in lines:
        assert "'stale'" in line
        assert proxy.upstream.origin in line
        assert WAITS in line


@BOTH_WAYS
async def test_a_reader_who_leaves_in_the_middle_of_an_answer_is_logged_at_once(fast: bool) -> None:
    half = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf"
    async with wired(Origin(half), fast=fast) as proxy, asyncio.timeout(60):
        client = await begun(proxy)
        await client.reader.readuntil(b"half")
        client.writer.transport.abort()

        (line,) = await logged(proxy, 1)

    assert "client_disconnected" in line
    assert "aborted" in line


class SlowStore:
    """A second level that has nothing, and takes three seconds to say so."""

    def __init__(self, time: Time) -> None:
        self._time = time
        self.times = 0

    async def get(self, key: bytes, tags: Sequence[str]) -> Found:
        self._time.seconds += 3
        return Found(None, (b"g",))

    async def put(self, key: bytes, content: bytes, found: Found, seconds: float) -> None:
        """Store nothing."""

    async def forget(self, tags: Sequence[str]) -> None:
        """Have nothing."""


async def test_a_read_has_waited_for_the_second_level() -> None:
    time = Time()
    cache = make_cache(caching.Origin(), time, entries=SlowStore(time))

    answer = await caching.request(cache)

    assert answer.exchange.waits == {"store": 3.0}
    await cache.close()


@pytest.mark.parametrize("head", [(404, (b"content-length", b"0")), (204, (b"etag", b'"1"'))])
async def test_an_answer_that_is_its_head_alone_is_complete_with_it(
    head: tuple[int, tuple[bytes, bytes]],
) -> None:
    status, field = head
    ends = asyncio.Event()

    async def origin(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": [field]})
        await ends.wait()
        await send({"type": "http.response.body", "body": b""})

    cache = make_cache(origin, Time())

    async with asyncio.timeout(20):
        answer = await caching.request(cache)

    assert (answer.status, answer.complete) == (status, True)
    ends.set()
    await cache.close()
