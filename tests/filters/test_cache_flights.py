"""The cache stage: many reads of one thing are one request upstream."""

import asyncio
from typing import Any

import pytest

from metaproxy.protocol.faults import Fault
from tests.asgi_driver import Answer
from tests.filters.caching import ITEM, JSON, MALLORY, Origin, Time, make_cache, request, turn


async def reading(
    cache: Any, count: int, *headers: tuple[str, str], **options: Any
) -> list[asyncio.Task[Answer]]:
    """Start ``count`` reads and let them all wait."""
    tasks = [asyncio.create_task(request(cache, ITEM, *headers, **options)) for _ in range(count)]
    await turn()
    return tasks


async def test_ten_thousand_reads_of_a_cold_key_are_one_request() -> None:
    origin = Origin()
    origin.opened.clear()
    cache = make_cache(origin, Time())
    tasks = await reading(cache, 10_000)

    origin.opened.set()
    answers = await asyncio.gather(*tasks)

    assert len(origin.requests) == 1
    assert {(answer.status, answer.body) for answer in answers} == {(200, origin.chunks[0])}


async def test_all_but_the_first_are_told_to_have_been_collapsed() -> None:
    origin = Origin()
    origin.opened.clear()
    cache = make_cache(origin, Time())
    tasks = await reading(cache, 3)

    origin.opened.set()
    first, *others = await asyncio.gather(*tasks)

    assert first.header("cache-status") == "metaproxy; fwd=uri-miss; ttl=60; stored"
    assert [answer.header("cache-status") for answer in others] == [
        "metaproxy; fwd=uri-miss; ttl=60; collapsed"
    ] * 2
    assert [answer.exchange.outcome for answer in others] == ["collapsed"] * 2


async def test_the_request_id_of_the_origin_is_for_the_first_alone() -> None:
    origin = Origin(JSON, (b"x-compute-request-id", b"req-origin"))
    origin.opened.clear()
    cache = make_cache(origin, Time())
    tasks = await reading(cache, 2)

    origin.opened.set()
    first, second = await asyncio.gather(*tasks)

    assert first.header("x-compute-request-id") == "req-origin"
    assert second.header("x-compute-request-id") is None


async def test_a_first_reader_that_goes_leaves_the_others_their_answer() -> None:
    origin = Origin()
    origin.opened.clear()
    cache = make_cache(origin, Time())
    first, *others = await reading(cache, 3)

    first.cancel()
    await turn()
    origin.opened.set()

    assert [answer.status for answer in await asyncio.gather(*others)] == [200, 200]
    assert len(origin.requests) == 1


async def test_an_answer_that_turns_out_private_is_not_shared() -> None:
    origin = Origin(JSON, (b"cache-control", b"private"))
    origin.opened.clear()
    cache = make_cache(origin, Time())
    tasks = await reading(cache, 3)

    origin.opened.set()
    answers = await asyncio.gather(*tasks)

    assert len(origin.requests) == 3
    assert {answer.header("cache-status") for answer in answers} == {"metaproxy; fwd=uri-miss"}


async def test_after_a_private_answer_reads_do_not_wait_for_each_other() -> None:
    origin = Origin(JSON, (b"cache-control", b"private"))
    cache = make_cache(origin, Time())
    await request(cache)
    origin.opened.clear()

    tasks = await reading(cache, 3)

    assert len(origin.requests) == 4
    origin.opened.set()
    await asyncio.gather(*tasks)


async def test_readers_of_other_microversions_are_not_given_the_answer() -> None:
    origin = Origin(JSON, (b"vary", b"openstack-api-version"))
    origin.opened.clear()
    cache = make_cache(origin, Time())
    old = await reading(cache, 2, ("openstack-api-version", "compute 2.1"))
    new = await reading(cache, 2, ("openstack-api-version", "compute 2.38"))

    origin.opened.set()
    await asyncio.gather(*old, *new)

    asked = [dict(scope["headers"])[b"openstack-api-version"] for scope in origin.requests]
    assert sorted(asked) == [b"compute 2.1", b"compute 2.38"]


async def test_readers_of_another_project_fly_by_themselves() -> None:
    origin = Origin()
    origin.opened.clear()
    cache = make_cache(origin, Time())

    tasks = [*await reading(cache, 1), *await reading(cache, 1, identity=MALLORY)]

    assert len(origin.requests) == 2
    origin.opened.set()
    await asyncio.gather(*tasks)


async def test_a_fault_of_the_upstream_reaches_every_reader() -> None:
    origin = Origin()
    origin.opened.clear()
    origin.error = Fault(502, "The upstream broke.", reason="upstream_broken")
    cache = make_cache(origin, Time())
    tasks = await reading(cache, 3)

    origin.opened.set()
    answers = await asyncio.gather(*tasks)

    assert [answer.status for answer in answers] == [502] * 3
    assert len(origin.requests) == 1


class Dripping(Origin):
    """Sends one chunk each time it is told to."""

    def __init__(self, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(*headers)
        self.drops: asyncio.Queue[bytes] = asyncio.Queue()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.requests.append(scope)
        await send({"type": "http.response.start", "status": 200, "headers": list(self.headers)})
        while drop := await self.drops.get():
            await send({"type": "http.response.body", "body": drop, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def test_the_answer_streams_to_every_reader_as_it_comes() -> None:
    origin = Dripping()
    cache = make_cache(origin, Time())
    seen: list[bytes] = []

    async def read() -> Answer:
        return await request_seeing(cache, seen)

    tasks = [asyncio.create_task(read()) for _ in range(2)]
    origin.drops.put_nowait(b"one")
    await turn()

    assert seen == [b"one", b"one"]
    origin.drops.put_nowait(b"")
    assert [answer.body for answer in await asyncio.gather(*tasks)] == [b"one", b"one"]


async def request_seeing(cache: Any, seen: list[bytes]) -> Answer:
    async def watching(scope: Any, receive: Any, send: Any) -> None:
        async def watched(message: Any) -> None:
            if message.get("body"):
                seen.append(message["body"])
            await send(message)

        await cache(scope, receive, watched)

    return await request(watching)


async def test_a_reader_who_comes_late_gets_the_whole() -> None:
    origin = Dripping()
    cache = make_cache(origin, Time())
    first = await reading(cache, 1)
    origin.drops.put_nowait(b"one")
    await turn()

    late = await reading(cache, 1)
    origin.drops.put_nowait(b"two")
    origin.drops.put_nowait(b"")

    assert [answer.body for answer in await asyncio.gather(*first, *late)] == [b"onetwo"] * 2
    assert len(origin.requests) == 1


async def test_an_answer_that_outgrows_its_bound_still_reaches_its_readers_whole() -> None:
    origin = Dripping()
    cache = make_cache(origin, Time(), max_entry_bytes=4096)
    tasks = await reading(cache, 2)

    for _ in range(10):
        origin.drops.put_nowait(b"x" * 1000)
    origin.drops.put_nowait(b"")
    answers = await asyncio.gather(*tasks)

    assert [len(answer.body) for answer in answers] == [10_000, 10_000]
    assert cache.inventory.statistics().keys == 0


async def test_an_endless_private_answer_ends_with_its_reader() -> None:
    origin = Dripping((b"cache-control", b"no-store"))
    cache = make_cache(origin, Time())
    (task,) = await reading(cache, 1)
    origin.drops.put_nowait(b"one")
    await turn()

    task.cancel()
    await turn()

    assert cache.inventory.statistics().flights == 0


@pytest.mark.parametrize("count", [1, 3])
async def test_an_answer_that_breaks_off_is_told_as_broken(count: int) -> None:
    class Breaking(Origin):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": [JSON]})
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
            raise Fault(502, "The upstream broke.", reason="upstream_broken")

    cache = make_cache(Breaking(), Time())

    outcomes = await asyncio.gather(*await reading(cache, count), return_exceptions=True)

    assert [type(outcome).__name__ for outcome in outcomes] == ["ResponseAborted"] * count
    assert cache.inventory.statistics().keys == 0
