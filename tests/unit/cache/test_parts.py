"""Parts of answers over real sockets: stored, combined, completed, and never taken for the whole."""

import asyncio
import re
from contextlib import AbstractAsyncContextManager

import pytest

from metaproxy.cache.settings import CacheRoute
from tests.unit.cache.wire import (
    CAROLS_TOKEN,
    ITEM,
    PATH,
    PLAIN_ROUTE,
    TOKEN,
    Answer,
    Origin,
    Wired,
    response,
    wired,
)
from tests.unit.forward.scripted import Peer

BOTH_WAYS = pytest.mark.parametrize("fast", [True, False], ids=["lane", "line"])
WHOLE = b"0123456789"
FOR_ALL = "/v2.1/images/i1/metadata/label"
"""A path that each project may ask for."""


class Ranged(Origin):
    """Answers ranges, and heeds If-Range. ``instead`` is sent in place of the next answers."""

    def __init__(self, content: bytes = WHOLE, tag: str = '"1"', *fields: str) -> None:
        super().__init__()
        self.content = content
        self.tag = tag
        self.fields = fields
        self.instead: list[bytes] = []

    async def __call__(self, peer: Peer) -> None:
        while True:
            head = await peer.head()
            await self.open.wait()
            answer = self.instead.pop(0) if self.instead else self.own(head.decode())
            await peer.send(
                answer.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if head.startswith(b"HEAD") else answer
            )

    def own(self, head: str) -> bytes:
        fields = [*self.fields, *([f"ETag: {self.tag}"] if self.tag else [])]
        asked = re.search(r"range: bytes=(\d*)-(\d*)\r", head, re.IGNORECASE)
        wanted = re.search(r"if-range: (.*)\r", head, re.IGNORECASE)
        if asked is None or (wanted is not None and wanted[1] != self.tag) or head.startswith("HEAD"):
            return response(self.content, *fields)
        first, last = asked.groups()
        if first and int(first) >= len(self.content):
            return response(
                b"", f"Content-Range: bytes */{len(self.content)}", status="416 Range Not Satisfiable"
            )
        begin = int(first) if first else len(self.content) - int(last)
        end = int(last) if first and last else len(self.content) - 1
        return part(self.content, begin, min(end, len(self.content) - 1), *fields)


def part(content: bytes, first: int, last: int, *fields: str) -> bytes:
    told = f"Content-Range: bytes {first}-{last}/{len(content)}"
    return response(content[first : last + 1], told, *fields, status="206 Partial Content")


def lines(
    origin: Origin, *routes: CacheRoute, fast: bool, **options: int
) -> AbstractAsyncContextManager[Wired]:
    return wired(origin, *(routes or (PLAIN_ROUTE,)), fast=fast, rules=(), **options)


def is_hit(answer: Answer) -> bool:
    return "; hit" in answer.cache_status


def asked_for(proxy: Wired) -> list[str]:
    """Return the ranges that the origin was asked for, each with its If-Range."""
    heads = [head.decode().lower() for head in proxy.upstream.heads]
    return [" ".join(re.findall(r"\r\n(?:if-)?range: (.*?)(?=\r)", head)) for head in heads]


@BOTH_WAYS
async def test_a_stored_part_answers_the_ranges_that_lie_in_it(fast: bool) -> None:
    async with lines(Ranged(), fast=fast) as proxy:
        first = await proxy.ask("GET", "Range: bytes=4-9")
        answers = [
            await proxy.ask("GET", f"Range: bytes={asked}", *fields)
            for asked in ("4-9", "6-8", "6-", "-1", "-6", "4-100")
            for fields in ((), ('If-Range: "1"',), ())
        ]

    assert (first.status, first.body, is_hit(first)) == (206, b"456789", False)
    assert [answer.body for answer in answers[::3]] == [
        b"456789",
        b"678",
        b"6789",
        b"9",
        b"456789",
        b"456789",
    ]
    assert {(answer.status, is_hit(answer), answer.fields["etag"]) for answer in answers} == {
        (206, True, '"1"')
    }
    assert answers[3].fields["content-range"] == "bytes 6-8/10"
    assert answers[3].fields["content-length"] == "3"
    assert len(proxy.upstream.heads) == 1


@BOTH_WAYS
@pytest.mark.parametrize(
    "fields",
    [
        ("Range: bytes=0-4",),
        ("Range: bytes=3-5",),
        ("Range: bytes=4-5,7-8",),
        ("Range: bytes=20-",),
        ("Range: items=4-5",),
        ("Range: bytes=4-5", 'If-Range: "2"'),
        ("Range: bytes=4-5", 'If-Range: W/"1"'),
        ("Range: bytes=4-5", "If-Range: Mon, 02 Nov 2026 10:00:00 GMT"),
        ("Range: bytes=4-5", 'If-None-Match: "1"'),
        ("Range: bytes=4-5", 'If-Match: "1"'),
        ("Range: bytes=4-5", "Cache-Control: no-cache"),
        ("Range: bytes=4-5", "Accept: text/csv"),
    ],
    ids=" ".join,
)
async def test_the_origin_answers_what_a_stored_part_cannot(fields: tuple[str, ...], fast: bool) -> None:
    async with lines(Ranged(), fast=fast) as proxy:
        await proxy.ask("GET", "Range: bytes=4-9")
        await proxy.ask("GET", *fields)

        assert len(proxy.upstream.heads) == 2
        assert b"range: " + fields[0].removeprefix("Range: ").encode() in proxy.upstream.heads[1].lower()


@BOTH_WAYS
@pytest.mark.parametrize(
    ("stored", "asked"),
    [
        ("0-4", 'bytes=5- "1"'),
        ("4-9", 'bytes=0-3 "1"'),
        ("3-5", 'bytes=0- "1"'),
    ],
)
async def test_the_whole_is_completed_by_what_is_missing(stored: str, asked: str, fast: bool) -> None:
    async with lines(Ranged(WHOLE, '"1"', "Content-Type: text/plain", "X-Kept: 1"), fast=fast) as proxy:
        await proxy.ask("GET", f"Range: bytes={stored}")
        completed = await proxy.ask()
        hits = [await proxy.ask(), await proxy.ask(), await proxy.ask("HEAD")]
        of_it = await proxy.ask("GET", "Range: bytes=2-7")

    assert asked_for(proxy) == [f"bytes={stored}", asked]
    for answer in (completed, *hits[:2]):
        assert (answer.status, answer.body, answer.fields["content-length"]) == (200, WHOLE, "10")
        assert (answer.fields["etag"], answer.fields["x-kept"]) == ('"1"', "1")
        assert "content-range" not in answer.fields
    assert [is_hit(answer) for answer in (completed, *hits, of_it)] == [False, True, True, True, True]
    assert "fwd=partial; ttl=60; stored" in completed.cache_status
    assert (of_it.status, of_it.body) == (206, b"234567")


@BOTH_WAYS
async def test_a_gap_between_two_parts_is_all_that_is_fetched(fast: bool) -> None:
    async with lines(Ranged(), fast=fast) as proxy:
        await proxy.ask("GET", "Range: bytes=0-2")
        await proxy.ask("GET", "Range: bytes=7-9")
        completed = await proxy.ask()

    assert completed.body == WHOLE
    assert asked_for(proxy)[2] == 'bytes=3-6 "1"'


@BOTH_WAYS
async def test_parts_that_have_all_are_the_whole(fast: bool) -> None:
    async with lines(Ranged(), fast=fast) as proxy:
        for asked in ("5-9", "0-2", "2-5"):
            await proxy.ask("GET", f"Range: bytes={asked}")
        whole = await proxy.ask()

    assert (whole.status, whole.body, is_hit(whole)) == (200, WHOLE, True)
    assert len(proxy.upstream.heads) == 3


NOT_THE_PART = {
    "another tag": part(b"abcdefghij", 5, 9, 'ETag: "2"'),
    "a weak tag": part(WHOLE, 5, 9, 'ETag: W/"1"'),
    "no tag": part(WHOLE, 5, 9),
    "another part": part(WHOLE, 6, 9, 'ETag: "1"'),
    "another length": part(WHOLE + b"a", 5, 9, 'ETag: "1"'),
    "another coding": part(WHOLE, 5, 9, 'ETag: "1"', "Content-Encoding: gzip"),
    "parts": response(b"--a", "Content-Type: multipart/byteranges; boundary=a", status="206 Partial Content"),
    "no range": response(b"56789", 'ETag: "1"', status="206 Partial Content"),
    "not satisfiable": response(b"", "Content-Range: bytes */5", status="416 Range Not Satisfiable"),
}


@BOTH_WAYS
@pytest.mark.parametrize("instead", NOT_THE_PART.values(), ids=NOT_THE_PART)
async def test_whatever_is_not_the_missing_part_the_whole_is_asked_for(instead: bytes, fast: bool) -> None:
    origin = Ranged()
    async with lines(origin, fast=fast) as proxy:
        await proxy.ask("GET", "Range: bytes=0-4")
        origin.content, origin.tag, origin.instead = b"abcdefghij", '"2"', [instead]

        for _ in range(3):
            answer = await proxy.ask()
            assert (answer.status, answer.body, answer.fields["etag"]) == (200, b"abcdefghij", '"2"')

    assert asked_for(proxy) == ["bytes=0-4", 'bytes=5- "1"', ""]


@BOTH_WAYS
@pytest.mark.parametrize(
    ("instead", "expected"),
    [
        (response(b"gone", status="404 Not Found"), (404, b"gone")),
        (response(b"no", status="403 Forbidden"), (403, b"no")),
        (response(b"new", 'ETag: "2"'), (200, b"new")),
    ],
)
async def test_another_final_answer_takes_the_place_of_the_parts(
    instead: bytes, expected: tuple[int, bytes], fast: bool
) -> None:
    origin = Ranged()
    async with lines(origin, fast=fast) as proxy:
        await proxy.ask("GET", "Range: bytes=0-4")
        origin.instead = [instead]
        answer = await proxy.ask()
        origin.content = b"abcdefghij"
        origin.tag = '"3"'
        after = await proxy.ask("GET", "Range: bytes=0-4")

    assert (answer.status, answer.body) == expected
    assert after.body == (b"new" if expected[0] == 200 else b"abcde")


@BOTH_WAYS
async def test_an_origin_that_fails_is_told_as_it_is_and_the_part_stays(fast: bool) -> None:
    origin = Ranged()
    route = CacheRoute(path=PATH, ttl=60, stale_if_error=60)
    async with lines(origin, route, fast=fast) as proxy:
        await proxy.ask("GET", "Range: bytes=0-4")
        origin.instead = [response(b"down", status="503 Service Unavailable")]
        failed = await proxy.ask()
        held = await proxy.ask("GET", "Range: bytes=0-4")
        whole = await proxy.ask()

    assert (failed.status, failed.body) == (503, b"down")
    assert (held.status, held.body, is_hit(held)) == (206, b"01234", True)
    assert whole.body == WHOLE


@BOTH_WAYS
async def test_a_completion_that_is_cut_is_neither_stored_nor_sent_as_whole(fast: bool) -> None:
    class Cutting(Ranged):
        async def __call__(self, peer: Peer) -> None:
            head = (await peer.head()).decode()
            if "if-range" in head.lower():
                await peer.send(part(WHOLE, 5, 9, 'ETag: "1"')[:-2])
            else:
                await peer.send(self.own(head))

    async with lines(Cutting(), fast=fast) as proxy:
        await proxy.ask("GET", "Range: bytes=0-4")
        for _ in range(2):
            client = await proxy.client()
            client.send("GET", ITEM)
            with pytest.raises(asyncio.IncompleteReadError):
                await client.answer()
        held = await proxy.ask("GET", "Range: bytes=0-4")

    assert (held.body, is_hit(held)) == (b"01234", True)


NOT_STORED = {
    "a weak tag": part(WHOLE, 0, 4, 'ETag: W/"1"'),
    "no tag": part(WHOLE, 0, 4),
    "a date": part(WHOLE, 0, 4, "Last-Modified: Mon, 02 Nov 2026 10:00:00 GMT"),
    "an unknown length": response(
        b"01234", "Content-Range: bytes 0-4/*", 'ETag: "1"', status="206 Partial Content"
    ),
    "another part": part(WHOLE, 2, 6, 'ETag: "1"'),
    "another length": response(
        b"0123", "Content-Range: bytes 0-4/10", 'ETag: "1"', status="206 Partial Content"
    ),
    "no-store": part(WHOLE, 0, 4, 'ETag: "1"', "Cache-Control: no-store"),
    "private": part(WHOLE, 0, 4, 'ETag: "1"', "Cache-Control: private"),
    "max-age=0": part(WHOLE, 0, 4, 'ETag: "1"', "Cache-Control: max-age=0"),
    "no-cache": part(WHOLE, 0, 4, 'ETag: "1"', "Cache-Control: no-cache"),
    "no-cache of the tag": part(WHOLE, 0, 4, 'ETag: "1"', 'Cache-Control: no-cache="etag"'),
    "a cookie": part(WHOLE, 0, 4, 'ETag: "1"', "Set-Cookie: a=1"),
    "Vary of everything": part(WHOLE, 0, 4, 'ETag: "1"', "Vary: *"),
    "Vary of the range": part(WHOLE, 0, 4, 'ETag: "1"', "Vary: Range"),
    "too large": part(b"0" * 2_000_000, 0, 4, 'ETag: "1"'),
}


@BOTH_WAYS
@pytest.mark.parametrize("instead", NOT_STORED.values(), ids=NOT_STORED)
async def test_a_part_that_may_not_be_stored_passes_and_answers_nobody(instead: bytes, fast: bool) -> None:
    origin = Ranged(b"abcdefghij")
    async with lines(origin, fast=fast) as proxy:
        origin.instead = [instead] * 2
        for _ in range(2):
            answer = await proxy.ask("GET", "Range: bytes=0-4")
            assert (answer.status, is_hit(answer)) == (206, False)

        assert (await proxy.ask("GET", "Range: bytes=0-4")).body == b"abcde"
        assert (await proxy.ask()).body == b"abcdefghij"


@BOTH_WAYS
@pytest.mark.parametrize("asked", ["Cache-Control: no-store", 'If-Range: "1"'])
async def test_an_answer_that_lacks_fields_or_must_not_be_stored_begins_no_entry(
    asked: str, fast: bool
) -> None:
    async with lines(Ranged(), fast=fast) as proxy:
        await proxy.ask("GET", "Range: bytes=0-4", asked)
        again = await proxy.ask("GET", "Range: bytes=0-4")

    assert not is_hit(again)


@BOTH_WAYS
async def test_an_answer_to_if_range_is_combined_and_what_it_leaves_out_stays(fast: bool) -> None:
    origin = Ranged(WHOLE, '"1"', "Content-Type: text/plain", "X-Kept: 1", "X-New: 1")
    async with lines(origin, fast=fast) as proxy:
        await proxy.ask("GET", "Range: bytes=0-4")
        origin.fields = ("X-New: 2",)
        await proxy.ask("GET", "Range: bytes=5-9", 'If-Range: "1"')
        whole = await proxy.ask()

    assert (whole.body, is_hit(whole), whole.fields["content-type"]) == (WHOLE, True, "text/plain")
    assert (whole.fields["x-kept"], whole.fields["x-new"]) == ("1", "2")


@BOTH_WAYS
@pytest.mark.parametrize(
    "tell",
    [
        ("GET", "Range: bytes=5-9"),
        ("HEAD",),
    ],
)
async def test_an_answer_of_another_representation_ends_the_stored_part(
    tell: tuple[str, ...], fast: bool
) -> None:
    origin = Ranged()
    async with lines(origin, fast=fast) as proxy:
        await proxy.ask("GET", "Range: bytes=0-4")
        origin.content, origin.tag = b"abcdefghij", '"2"'
        await proxy.ask(*tell)
        after = await proxy.ask("GET", "Range: bytes=0-4")

    assert (after.body, is_hit(after)) == (b"abcde", False)


@BOTH_WAYS
async def test_a_stale_part_answers_nobody_and_is_still_completed(fast: bool) -> None:
    route = CacheRoute(path=PATH, ttl=1, stale_while_revalidate=60, stale_if_error=60)
    async with lines(Ranged(), route, fast=fast) as proxy:
        await proxy.ask("GET", "Range: bytes=0-4")
        proxy.wait(2)
        stale = await proxy.ask("GET", "Range: bytes=0-3")
        proxy.wait(2)
        whole = await proxy.ask()

    assert (stale.body, is_hit(stale)) == (b"0123", False)
    assert (whole.body, asked_for(proxy)[2]) == (WHOLE, 'bytes=5- "1"')


@BOTH_WAYS
async def test_only_if_cached_wants_what_is_stored(fast: bool) -> None:
    async with lines(Ranged(), fast=fast) as proxy:
        await proxy.ask("GET", "Range: bytes=0-4")
        statuses = [
            (await proxy.ask("GET", *fields, "Cache-Control: only-if-cached")).status
            for fields in (("Range: bytes=0-4",), ("Range: bytes=0-5",), ())
        ]

    assert statuses == [206, 504, 504]


@BOTH_WAYS
async def test_a_write_ends_a_stored_part(fast: bool) -> None:
    origin = Ranged()
    async with lines(origin, fast=fast) as proxy:
        await proxy.ask("GET", "Range: bytes=0-4")
        origin.instead = [response(b"")]
        await proxy.ask("PUT", "Content-Length: 0")
        after = await proxy.ask("GET", "Range: bytes=0-4")

    assert not is_hit(after)


@BOTH_WAYS
async def test_a_part_that_a_write_overtakes_is_not_stored(fast: bool) -> None:
    origin = Ranged()
    async with lines(origin, fast=fast) as proxy:
        reading = await proxy.client()
        origin.open.clear()
        reading.send("GET", ITEM, "Range: bytes=0-4")
        await proxy.flying()
        writing = await proxy.client()
        writing.send("PUT", ITEM, "Content-Length: 0")
        await proxy.flying(2)
        origin.open.set()
        assert (await reading.answer()).body == b"01234"
        await writing.answer()

        assert not is_hit(await proxy.ask("GET", "Range: bytes=0-4"))


@BOTH_WAYS
async def test_parts_are_kept_apart_by_project(fast: bool) -> None:
    async with lines(Ranged(), fast=fast) as proxy:
        answers = [
            await proxy.ask("GET", "Range: bytes=0-4", path=FOR_ALL, token=token)
            for token in (TOKEN, CAROLS_TOKEN, TOKEN, CAROLS_TOKEN)
        ]
        others = await proxy.ask("GET", path=FOR_ALL, token=CAROLS_TOKEN)

    assert [is_hit(answer) for answer in answers] == [False, False, True, True]
    assert others.body == WHOLE


@BOTH_WAYS
async def test_parts_are_kept_apart_by_what_the_origin_varies_on(fast: bool) -> None:
    origin = Ranged(WHOLE, '"1"', "Vary: Accept-Language")
    async with lines(origin, fast=fast) as proxy:
        await proxy.ask("GET", "Range: bytes=0-4", "Accept-Language: de")
        origin.content, origin.tag = b"abcdefghij", '"2"'
        french = [await proxy.ask("GET", "Range: bytes=0-4", "Accept-Language: fr") for _ in range(2)]
        german = await proxy.ask("GET", "Range: bytes=0-4", "Accept-Language: DE;q=1")
        whole = await proxy.ask("GET", "Accept-Language: fr")

    assert [answer.body for answer in french] == [b"abcde", b"abcde"]
    assert (german.body, is_hit(german)) == (b"01234", True)
    assert whole.body == b"abcdefghij"


@BOTH_WAYS
async def test_an_encoded_part_is_not_mixed_with_a_plain_one(fast: bool) -> None:
    origin = Ranged(WHOLE, '"z"', "Content-Encoding: gzip")
    async with lines(origin, fast=fast) as proxy:
        await proxy.ask("GET", "Range: bytes=0-4", "Accept-Encoding: gzip")
        origin.content, origin.fields, origin.tag = b"abcdefghij", (), '"1"'
        plain = await proxy.ask()
        encoded = await proxy.ask("GET", "Range: bytes=0-4", "Accept-Encoding: GZIP")

    assert plain.body == b"abcdefghij"
    assert encoded.body in (b"01234", b"abcde")
    assert ("content-encoding" in encoded.fields) is (encoded.body == b"01234")


async def test_parts_count_against_the_memory_of_the_cache() -> None:
    content = b"x" * 60_000
    async with lines(Ranged(content), fast=True, max_bytes=200_000, max_entry_bytes=70_000) as proxy:
        for number in range(12):
            path = f"/v2.1/t1/images/i{number}/metadata/label"
            await proxy.ask("GET", "Range: bytes=0-49999", path=path)
            assert proxy.line.cache.inventory.statistics().bytes <= 200_000
        entry = proxy.line.cache.inventory.entries("i11")[0]
        assert proxy.line.cache.inventory.statistics().evictions > 0

    assert (entry.status, entry.bytes > 50_000) == (206, True)


async def test_many_small_parts_are_bounded() -> None:
    content = b"x" * 1000
    async with lines(Ranged(content), fast=True) as proxy:
        for first in range(0, 300, 2):
            await proxy.ask("GET", f"Range: bytes={first}-{first}")
            assert proxy.line.cache.inventory.statistics().bytes < 20_000

        assert (await proxy.ask()).body == content


@BOTH_WAYS
async def test_a_collection_of_readers_gets_one_completed_answer(fast: bool) -> None:
    origin = Ranged()
    async with lines(origin, fast=fast) as proxy:
        await proxy.ask("GET", "Range: bytes=0-4")
        origin.open.clear()
        clients = [await proxy.client() for _ in range(4)]
        for client in clients:
            client.send("GET", ITEM)
        await proxy.flying(2)
        origin.open.set()

        assert [(await client.answer()).body for client in clients] == [WHOLE] * 4
        assert asked_for(proxy) == ["bytes=0-4", 'bytes=5- "1"']


@BOTH_WAYS
async def test_fields_for_one_reader_are_not_stored_with_a_part(fast: bool) -> None:
    origin = Ranged(WHOLE, '"1"', 'Cache-Control: max-age=60, private="X-Secret"', "X-Secret: alices")
    async with lines(origin, fast=fast) as proxy:
        first = await proxy.ask("GET", "Range: bytes=0-4")
        part_hit = await proxy.ask("GET", "Range: bytes=0-4")
        await proxy.ask()
        whole = await proxy.ask()

    assert first.fields["x-secret"] == "alices"
    assert "x-secret" not in part_hit.fields
    assert (is_hit(whole), "x-secret" in whole.fields) == (True, False)


@BOTH_WAYS
async def test_what_chose_the_parts_counts_on_if_another_part_does_not_name_it(fast: bool) -> None:
    origin = Ranged(b"german-all", '"1"', "Vary: Accept-Language")
    async with lines(origin, fast=fast) as proxy:
        await proxy.ask("GET", "Range: bytes=0-4", "Accept-Language: de")
        origin.fields = ("Vary: Accept",)
        await proxy.ask("GET", "Range: bytes=3-6", "Accept-Language: de")
        german = await proxy.ask("GET", "Range: bytes=0-6", "Accept-Language: de")
        origin.content, origin.fields, origin.tag = b"french-all", ("Vary: Accept-Language",), '"2"'
        french = [await proxy.ask("GET", "Range: bytes=0-4", "Accept-Language: fr") for _ in range(2)]
        origin.content, origin.fields, origin.tag = b"german-all", ("Vary: Accept",), '"1"'
        await proxy.ask("GET", "Accept-Language: de")
        whole = await proxy.ask("GET", "Accept-Language: de")
        origin.content, origin.fields, origin.tag = b"french-all", ("Vary: Accept-Language",), '"2"'
        after = await proxy.ask("GET", "Accept-Language: fr")

    assert (german.body, is_hit(german)) == (b"german-", True)
    assert [answer.body for answer in french] == [b"frenc", b"frenc"]
    assert (whole.body, is_hit(whole)) == (b"german-all", True)
    assert after.body == b"french-all"


@BOTH_WAYS
async def test_a_digest_of_a_part_is_not_sent_with_other_bytes(fast: bool) -> None:
    origin = Ranged(
        WHOLE, '"1"', "Content-Digest: sha-256=:of-what-is-sent:", "Repr-Digest: sha-256=:of-all:"
    )
    async with lines(origin, fast=fast) as proxy:
        await proxy.ask("GET", "Range: bytes=0-4")
        smaller = await proxy.ask("GET", "Range: bytes=0-1")
        completed = await proxy.ask()
        whole = await proxy.ask()

    assert [answer.body for answer in (smaller, completed, whole)] == [b"01", WHOLE, WHOLE]
    for answer in (smaller, completed, whole):
        assert "content-digest" not in answer.fields
        assert answer.fields["repr-digest"] == "sha-256=:of-all:"


@BOTH_WAYS
async def test_a_digest_of_the_whole_is_not_sent_with_a_part_of_it(fast: bool) -> None:
    async with lines(Ranged(WHOLE, '"1"', "Content-Digest: sha-256=:of-all:"), fast=fast) as proxy:
        await proxy.ask()
        whole = await proxy.ask()
        others = [
            await proxy.ask("GET", "Range: bytes=0-4"),
            await proxy.ask("GET", "Range: bytes=20-"),
            await proxy.ask("GET", 'If-None-Match: "1"'),
        ]

    assert whole.fields["content-digest"] == "sha-256=:of-all:"
    assert [answer.status for answer in others] == [206, 416, 304]
    assert not any("content-digest" in answer.fields for answer in others)
