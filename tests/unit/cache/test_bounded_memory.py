"""What clients and origins send is kept in the store alone, which counts it: every other memory is small."""

import gc
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from metaproxy.cache.settings import CacheRoute
from tests.filters.caching import COLLECTION_ROUTE, ITEM, JSON, Origin, Time, make_cache, request

COUNT, SIZE = 60, 30_000
SENT = COUNT * SIZE
LONG = "x" * SIZE
Ask = Callable[[Any, int], Awaitable[object]]


class Forgetful(Origin):
    """Keeps nothing of what it is asked."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.requests.clear()


@pytest.fixture
def traced() -> Iterator[Callable[[], int]]:
    def held() -> int:
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    yield held
    tracemalloc.stop()


def field(name: str, value: str) -> Ask:
    return lambda cache, number: request(cache, ITEM, (name, f"{value}{number}{LONG}"))


READS = {
    "Accept": field("accept", "a/"),
    "Cache-Control": field("cache-control", "no-cache, x"),
    "Pragma": field("pragma", "x"),
    "If-None-Match": field("if-none-match", '"'),
    "If-Modified-Since": field("if-modified-since", "Mon"),
    "If-Range": field("if-range", "Mon"),
    "Range": field("range", "bytes=0-0"),
    "the path": lambda cache, number: request(cache, f"{ITEM}{number}{LONG}"),
    "the query": lambda cache, number: request(cache, f"{ITEM}?{number}{LONG}"),
}


@pytest.mark.parametrize("ask", READS.values(), ids=READS)
async def test_reads_that_store_nothing_leave_nothing(ask: Ask, traced: Any) -> None:
    routes = (
        CacheRoute(path="/v2.1/images/{image_id}/metadata/{key}", ttl=60, from_collection=True),
        COLLECTION_ROUTE,
    )
    cache = make_cache(Forgetful(JSON, (b"cache-control", b"private")), Time(), routes=routes)
    for number in range(10):
        await ask(cache, number)
    before = traced()

    for number in range(COUNT):
        await ask(cache, number + 10)

    assert traced() - before < SENT / 4


@pytest.mark.parametrize(
    "name", [b"cache-control", b"cdn-cache-control", b"expires", b"date", b"vary", b"etag", b"x"]
)
async def test_fields_of_answers_are_kept_with_what_is_stored_alone(name: bytes, traced: Any) -> None:
    origin = Forgetful(JSON)
    cache = make_cache(origin, Time())
    before = 0
    for number in range(COUNT + 10):
        if number == 10:
            before = traced()
        origin.headers = [JSON, (b"vary", b"*"), (name, b"%d%s" % (number, LONG.encode()))]
        await request(cache)

    assert traced() - before < SENT / 4


async def test_writes_whose_effect_is_uncertain_leave_little(traced: Any) -> None:
    origin = Forgetful(JSON)
    origin.status = 503
    cache = make_cache(origin, Time(), routes=(CacheRoute(path="/things/{id}", ttl=60),))
    before = 0
    for number in range(COUNT + 10):
        if number == 10:
            before = traced()
        await request(cache, f"/things/{number}{LONG}", method="PUT")

    assert traced() - before < SENT / 4


async def test_what_is_stored_stays_within_its_bound(traced: Any) -> None:
    cache = make_cache(Forgetful(), Time(), max_bytes=500_000)
    before = 0
    for number in range(COUNT + 10):
        if number == 10:
            before = traced()
        await request(cache, ITEM, ("accept", f"a/{number}{LONG}"))

    assert traced() - before < 1_000_000
