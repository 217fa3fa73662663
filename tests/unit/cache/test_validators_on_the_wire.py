"""Answers with more than one validator of a kind: they are as if they had none."""

import pytest

from metaproxy.cache.settings import CacheRoute
from tests.unit.cache.wire import PATH, Origin, response, wired

BOTH_WAYS = pytest.mark.parametrize("fast", [True, False], ids=["lane", "line"])
TWO_TAGS = pytest.mark.parametrize(
    "tags", [('ETag: "1"', 'ETag: "2"'), ('ETag: "1", "2"',)], ids=["two lines", "one line"]
)
ROUTE = CacheRoute(path=PATH, ttl=1)
DATE = "Mon, 02 Nov 2026 10:00:00 GMT"


def not_modified(*fields: str) -> bytes:
    return "\r\n".join(["HTTP/1.1 304 Not Modified", *fields, "", ""]).encode()


@BOTH_WAYS
@TWO_TAGS
async def test_the_origin_is_not_asked_for_either_of_two_tags(tags: tuple[str, ...], fast: bool) -> None:
    origin = Origin(response(b"old", *tags))
    async with wired(origin, ROUTE, fast=fast) as proxy:
        for _ in range(2):
            await proxy.ask()
        proxy.wait(2)
        origin.answer = response(b"new", *tags)
        bodies = [(await proxy.ask()).body for _ in range(3)]

    assert bodies == [b"new"] * 3
    assert not any(b"if-none-match" in head for head in proxy.upstream.heads)


@BOTH_WAYS
@TWO_TAGS
async def test_a_hit_has_one_tag_that_none_of_the_two_matches(tags: tuple[str, ...], fast: bool) -> None:
    async with wired(Origin(response(b"old", *tags)), fast=fast) as proxy:
        await proxy.ask()
        hits = [await proxy.ask() for _ in range(2)]
        asked = [await proxy.ask("GET", f"If-None-Match: {tag}") for tag in ('"1"', '"2"', '"1", "2"') * 2]
        own = [await proxy.ask("GET", f"If-None-Match: {hits[0].fields['etag']}") for _ in range(2)]

    assert {hit.fields["etag"].count('"') for hit in hits} == {2}
    assert {answer.status for answer in asked} == {200}
    assert {answer.status for answer in own} == {304}


@BOTH_WAYS
@TWO_TAGS
async def test_a_304_with_two_tags_confirms_what_was_asked_for_and_its_tag_stays(
    tags: tuple[str, ...], fast: bool
) -> None:
    origin = Origin(response(b"old", 'ETag: "1"'))
    async with wired(origin, ROUTE, fast=fast) as proxy:
        await proxy.ask()
        proxy.wait(2)
        origin.answer = not_modified(*tags, "X-New: yes")
        answers = [await proxy.ask() for _ in range(3)]

    assert {(answer.status, answer.body, answer.fields["etag"]) for answer in answers} == {
        (200, b"old", '"1"')
    }
    assert {answer.fields["x-new"] for answer in answers} == {"yes"}


@BOTH_WAYS
async def test_of_two_dates_none_is_asked_for_or_kept(fast: bool) -> None:
    origin = Origin(response(b"old", f"Last-Modified: {DATE}", f"Last-Modified: {DATE}"))
    async with wired(origin, ROUTE, fast=fast) as proxy:
        await proxy.ask()
        hit = await proxy.ask()
        proxy.wait(2)
        await proxy.ask()

    assert "last-modified" not in hit.fields
    assert not any(b"if-modified-since" in head for head in proxy.upstream.heads)


@BOTH_WAYS
async def test_parts_with_two_tags_are_not_stored(fast: bool) -> None:
    part = response(
        b"01", "Content-Range: bytes 0-1/9", 'ETag: "1"', 'ETag: "1"', status="206 Partial Content"
    )
    async with wired(Origin(part), fast=fast) as proxy:
        for _ in range(3):
            await proxy.ask("GET", "Range: bytes=0-1")

    assert len(proxy.upstream.heads) == 3
