"""A prepared read answers what the same read, looked up anew, would get."""

import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaproxy.cache.collections import Collections
from metaproxy.cache.lookup import Lookup, PreparedRead
from metaproxy.cache.memory import MemoryStore
from metaproxy.cache.requests import CacheRequest, RequestReader
from metaproxy.cache.routes import CacheRoutes
from metaproxy.cache.settings import CacheRoute
from metaproxy.cache.stored import Hit, Stored
from metaproxy.cache.trust import Trust
from metaproxy.protocol.caching.reuse import Terms
from tests.asgi_driver import make_scope

PATH = "/images/i1/metadata/label"


class Memory:
    """A store with its look-up, at a time of our own."""

    def __init__(self) -> None:
        self.now = 100.0
        self.trust = Trust()
        self.store = MemoryStore(max_bytes=100_000, max_entry_bytes=100_000)
        self.lookup = Lookup(
            store=self.store,
            collections=Collections(self.store, self.clock),
            routes=CacheRoutes([CacheRoute(path="/images/{image_id}/metadata/{key}", ttl=60)]),
            trust=self.trust,
            name="metaproxy",
            monotonic=self.clock,
        )

    def clock(self) -> float:
        return self.now

    def keep(self, request: CacheRequest, body: bytes = b"{}", *, lifetime: float = 60.0) -> None:
        stored = Stored(
            status=200,
            fields=((b"content-type", b"application/json"), (b"etag", b'"1"')),
            body=body,
            terms=Terms(lifetime=lifetime),
            born=self.now,
            asked_at=self.now,
            tags=("image:i1",),
        )
        self.store.put(request.key, stored)


def asked(method: str = "GET", **fields: str) -> tuple[CacheRequest, dict[str, Any]]:
    headers = [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]
    scope = dict(make_scope(method, PATH, headers))
    reader = RequestReader(obey_client=True, shared=False, normalised_query=lambda path, query: query)
    return reader.read(b"p", "http", scope), scope


ASKED = {
    "a plain read": asked(),
    "a head": asked("HEAD"),
    "a condition that holds": asked(if_none_match='"1"'),
    "a condition that does not": asked(if_none_match='"2"'),
    "a part": asked(range="bytes=0-0"),
    "at most so old": asked(cache_control="max-age=5"),
    "at least so fresh": asked(cache_control="min-fresh=10"),
    "validated": asked(cache_control="no-cache"),
}


def told(hit: Hit | None) -> object:
    return None if hit is None or hit.revalidate else (hit.status, hit.head_bytes, hit.body, hit.outcome)


@given(
    st.sampled_from(list(ASKED)),
    st.lists(
        st.tuples(
            st.sampled_from(["nothing", "renew", "purge", "purge all", "doubt", "trust"]),
            st.floats(0, 70).map(lambda seconds: round(seconds, 1)),
        ),
        max_size=8,
    ),
)
def test_it_answers_what_is_looked_up(kind: str, steps: list[tuple[str, float]]) -> None:
    memory, (request, scope) = Memory(), ASKED[kind]
    prepared = PreparedRead(memory.lookup, request, scope)
    memory.keep(request)

    for event, pause in steps:
        for _ in range(2):
            assert told(prepared.hit(memory.now)) == told(memory.lookup.find(request, scope))
        memory.now += pause
        match event:
            case "renew":
                memory.keep(request, b"%d" % int(memory.now))
            case "purge":
                memory.store.purge("image:i1")
            case "purge all":
                memory.store.purge_all()
            case "doubt":
                memory.trust.end()
            case "trust":
                memory.trust.renew(memory.now, memory.now + 30)
        assert told(prepared.hit(memory.now)) == told(memory.lookup.find(request, scope))


def test_what_it_answers_is_recent_when_room_is_needed() -> None:
    memory, (request, scope) = Memory(), asked()
    prepared = PreparedRead(memory.lookup, request, scope)
    memory.keep(request)
    prepared.hit(memory.now)
    memory.store.max_bytes = 2 * memory.store.bytes

    for number in range(5):
        prepared.hit(memory.now)
        memory.keep(CacheRequest((*request.key[:3], b"/%d" % number, *request.key[4:]), {}))

    assert prepared.hit(memory.now) is not None
    assert memory.store.evictions > 0


@pytest.mark.parametrize("pause", [0.0, 0.99])
def test_within_a_second_it_is_the_same_answer(pause: float) -> None:
    memory, (request, scope) = Memory(), asked()
    prepared = PreparedRead(memory.lookup, request, scope)
    memory.keep(request)

    first = prepared.hit(memory.now)

    assert prepared.hit(memory.now + pause) is first


@pytest.mark.parametrize("kind", ASKED)
def test_it_holds_on_to_nothing_that_the_store_has_let_go(kind: str) -> None:
    memory, (request, scope) = Memory(), ASKED[kind]
    prepared = PreparedRead(memory.lookup, request, scope)
    body = bytes(bytearray(b"x" * 100))
    memory.keep(request, body)
    for _ in range(2):
        prepared.hit(memory.now)

    memory.store.purge_all()

    assert sys.getrefcount(body) == 2  # ours, and the one that the count is made with
