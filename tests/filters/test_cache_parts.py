"""The cache stage with ranges: whatever is asked in whatever order, nobody gets a mixture of two contents."""

import asyncio
import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from metaproxy.cache.settings import CacheRoute
from tests.filters.caching import ITEM, Time, make_cache, request

LENGTH = 12
ROUTE = CacheRoute(path="/v2.1/images/{image_id}/metadata/{key}", ttl=10.0)

RANGES = st.tuples(st.integers(0, LENGTH - 1), st.integers(0, LENGTH - 1)).map(sorted)
STEPS = st.one_of(
    st.just(("whole",)),
    st.just(("head",)),
    st.just(("change",)),
    st.just(("write",)),
    st.just(("wait",)),
    RANGES.map(lambda ends: ("range", *ends)),
    RANGES.map(lambda ends: ("if-range", *ends)),
)


class Ranged:
    """An origin that answers ranges. Its content and its tag are one letter, another for each version."""

    def __init__(self, *, reads_to_the_end: bool = False) -> None:
        self.version = 0
        self.reads_to_the_end = reads_to_the_end
        self.sent = 0

    @property
    def letter(self) -> bytes:
        return bytes([ord("a") + self.version % 26])

    @property
    def tag(self) -> bytes:
        return b'"%b"' % self.letter

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        while self.reads_to_the_end and (await receive()).get("more_body"):
            continue
        fields = dict(scope["headers"])
        if scope["method"] == "PUT":
            self.version += 1
        whole, status = self.letter * LENGTH, 200
        found = re.fullmatch(rb"bytes=(\d+)-(\d*)", fields.get(b"range", b""))
        answer = [(b"etag", self.tag)]
        if found and scope["method"] == "GET" and fields.get(b"if-range", self.tag) == self.tag:
            first, last = int(found[1]), int(found[2] or LENGTH - 1)
            answer.append((b"content-range", b"bytes %d-%d/%d" % (first, last, LENGTH)))
            whole, status = whole[first : last + 1], 206
        elif fields.get(b"if-none-match") == self.tag:
            whole, status = b"", 304
        body = b"" if scope["method"] == "HEAD" else whole
        self.sent += len(body)
        if status != 304:
            answer.append((b"content-length", b"%d" % len(whole)))
        await send({"type": "http.response.start", "status": status, "headers": answer})
        for at in range(0, len(body), 5):
            await send({"type": "http.response.body", "body": body[at : at + 5], "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


@settings(deadline=None, max_examples=150)
@given(steps=st.lists(STEPS, max_size=14))
def test_for_every_order_of_reads_and_writes_an_answer_is_of_one_content(
    steps: list[tuple[Any, ...]],
) -> None:
    asyncio.run(follow(steps))


async def follow(steps: list[tuple[Any, ...]]) -> None:
    origin, time = Ranged(), Time()
    cache = make_cache(origin, time, routes=[ROUTE])
    first_allowed = 0
    for step, *ends in steps:
        if step == "change":
            origin.version += 1
        elif step == "wait":
            time.seconds += 11
            first_allowed = origin.version
        elif step == "write":
            await request(cache, ITEM, method="PUT")
            first_allowed = origin.version
        elif step == "head":
            await request(cache, ITEM, method="HEAD")
        else:
            told = [("range", f"bytes={ends[0]}-{ends[1]}")] if ends else []
            told += [("if-range", origin.tag.decode())] if step == "if-range" else []
            answer = await request(cache, ITEM, *told)
            length = ends[1] - ends[0] + 1 if answer.status == 206 else LENGTH
            allowed = {bytes([ord("a") + at]) * length for at in range(first_allowed, origin.version + 1)}
            assert answer.status in ({200, 206} if ends else {200})
            assert answer.body in allowed
            if answer.status == 206:
                assert dict(answer.headers)[b"content-range"] == b"bytes %d-%d/%d" % (*ends, LENGTH)
    await cache.close()


async def test_what_is_here_is_not_fetched_again() -> None:
    origin = Ranged()
    cache = make_cache(origin, Time(), routes=[ROUTE])
    await request(cache, ITEM, ("range", "bytes=0-7"))
    await request(cache, ITEM)
    for _ in range(3):
        await request(cache, ITEM, ("range", "bytes=2-9"))

    assert origin.sent == LENGTH


async def test_an_application_that_reads_the_request_is_asked_twice_without_waiting() -> None:
    origin = Ranged(reads_to_the_end=True)
    cache = make_cache(origin, Time(), routes=[ROUTE])
    await request(cache, ITEM, ("range", "bytes=0-7"))
    cache.lead_to(Lying(origin))

    assert (await request(cache, ITEM)).body == b"a" * LENGTH


class Lying:
    """Answers If-Range with a part of something else."""

    def __init__(self, origin: Ranged) -> None:
        self.origin = origin

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if b"if-range" not in dict(scope["headers"]):
            await self.origin(scope, receive, send)
            return
        while (await receive()).get("more_body"):
            continue
        fields = [(b"etag", b'"other"'), (b"content-range", b"bytes 8-11/12")]
        await send({"type": "http.response.start", "status": 206, "headers": fields})
        await send({"type": "http.response.body", "body": b"zzzz", "more_body": False})
