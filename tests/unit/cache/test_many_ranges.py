"""Requests for several ranges, their answers, and ranges that cannot be satisfied: what is stored stays."""

import pytest

from metaproxy.cache.settings import CacheRoute
from tests.unit.cache.test_parts import Ranged, is_hit, lines, part
from tests.unit.cache.wire import PATH, PLAIN_ROUTE, Origin, response, wired

BOTH_WAYS = pytest.mark.parametrize("fast", [True, False], ids=["lane", "line"])
WHOLE = b"0123456789"
SEVERAL = "Range: bytes=0-1,4-5"
MANY = (
    b"--B\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/10\r\n\r\n01\r\n"
    b"--B\r\nContent-Type: text/plain\r\nContent-Range: bytes 4-5/10\r\n\r\n45\r\n--B--\r\n"
)
MULTIPART = "Content-Type: multipart/byteranges; boundary=B"
STALE = CacheRoute(path=PATH, ttl=1, stale_if_error=60)
DOWN = response(b"down", status="503 Service Unavailable")


def many(*fields: str, status: str = "206 Partial Content") -> bytes:
    return response(MANY, MULTIPART, *fields, status=status)


def not_satisfiable(*fields: str) -> bytes:
    return response(b"", *fields, "Cache-Control: no-store", status="416 Range Not Satisfiable")


@BOTH_WAYS
@pytest.mark.parametrize("asked", ["0-1,4-5", "0-0, -1", "0-,0-,0-,0-", "20-30,40-50", "0-1,,4-5"])
async def test_several_ranges_of_a_stored_answer_are_answered_with_the_whole(asked: str, fast: bool) -> None:
    async with wired(Origin(response(WHOLE, 'ETag: "1"')), fast=fast) as proxy:
        await proxy.ask()
        answers = [await proxy.ask("GET", f"Range: bytes={asked}") for _ in range(3)]

    assert {(answer.status, answer.body, is_hit(answer)) for answer in answers} == {(200, WHOLE, True)}
    assert len(proxy.upstream.heads) == 1


@BOTH_WAYS
@pytest.mark.parametrize(
    "answer",
    [
        many('ETag: "1"'),
        many('ETag: "1"', "Content-Range: bytes 0-9/10"),
        many('ETag: "1"', status="200 OK"),
        b'HTTP/1.1 206 Partial Content\r\nETag: "1"\r\nContent-Range: bytes 0-%d/1000\r\n' % (len(MANY) - 1)
        + MULTIPART.encode()
        + b"\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(MANY), MANY),
    ],
    ids=["parts", "parts with a range", "200", "parts in chunks"],
)
@pytest.mark.parametrize("asked", [SEVERAL, "Range: bytes=0-999"])
async def test_an_answer_of_several_parts_passes_and_is_not_stored(
    asked: str, answer: bytes, fast: bool
) -> None:
    origin = Origin(answer)
    async with wired(origin, fast=fast) as proxy:
        passed = [await proxy.ask("GET", asked) for _ in range(2)]
        origin.answer = response(WHOLE, 'ETag: "1"')
        whole = await proxy.ask()

    assert {each.body for each in passed} == {MANY}
    assert whole.body == WHOLE
    assert len(proxy.upstream.heads) == 3


LEAVES_IT = {
    "several parts": many('ETag: "1"'),
    "several parts without a tag": many(),
    "one part for several ranges": part(WHOLE, 0, 5, 'ETag: "1"'),
    "not satisfiable": not_satisfiable("Content-Range: bytes */10"),
    "not satisfiable, no length": not_satisfiable(),
    "not satisfiable, the same tag": not_satisfiable('ETag: "1"'),
    "not satisfiable, no number": not_satisfiable("Content-Range: bytes */x"),
    "down": DOWN,
}
ENDS_IT = {
    "several parts of another": many('ETag: "2"'),
    "several parts that must not be stored": many('ETag: "1"', "Cache-Control: no-store"),
    "not satisfiable, another length": not_satisfiable("Content-Range: bytes */3"),
    "not satisfiable, another tag": not_satisfiable('ETag: "2"'),
    "not found": response(b"gone", status="404 Not Found"),
}


@BOTH_WAYS
@pytest.mark.parametrize("asked", [SEVERAL, "Range: bytes=7-", "Range: bytes=20-"])
@pytest.mark.parametrize("answer", LEAVES_IT.values(), ids=LEAVES_IT)
async def test_what_says_nothing_of_another_content_leaves_the_stored_part(
    answer: bytes, asked: str, fast: bool
) -> None:
    origin = Ranged()
    async with lines(origin, fast=fast) as proxy:
        await proxy.ask("GET", "Range: bytes=0-4")
        for _ in range(2):
            origin.instead = [answer]
            await proxy.ask("GET", asked)
            held = await proxy.ask("GET", "Range: bytes=0-4")
            assert (held.body, is_hit(held)) == (b"01234", True)


@BOTH_WAYS
@pytest.mark.parametrize("answer", ENDS_IT.values(), ids=ENDS_IT)
async def test_what_shows_another_content_ends_the_stored_part(answer: bytes, fast: bool) -> None:
    origin = Ranged()
    async with lines(origin, fast=fast) as proxy:
        await proxy.ask("GET", "Range: bytes=0-4")
        origin.instead = [answer]
        await proxy.ask("GET", SEVERAL)
        after = await proxy.ask("GET", "Range: bytes=0-4")

    assert not is_hit(after)


async def after_several_ranges(answer: bytes, *, fast: bool) -> list[bytes]:
    """Return what two readers of a stale whole get while the origin is down.

    ``answer`` is what a request for several ranges got before.
    """
    origin = Origin(response(WHOLE, 'ETag: "1"'))
    async with wired(origin, STALE, fast=fast) as proxy:
        await proxy.ask()
        proxy.wait(2)
        origin.answer = answer
        await proxy.ask("GET", SEVERAL)
        origin.answer = DOWN
        return [(await proxy.ask()).body for _ in range(2)]


@BOTH_WAYS
@pytest.mark.parametrize("answer", LEAVES_IT.values(), ids=LEAVES_IT)
async def test_what_says_nothing_of_another_content_leaves_the_stale_whole(answer: bytes, fast: bool) -> None:
    assert await after_several_ranges(answer, fast=fast) == [WHOLE] * 2


@BOTH_WAYS
@pytest.mark.parametrize("answer", ENDS_IT.values(), ids=ENDS_IT)
async def test_what_shows_another_content_ends_the_stale_whole(answer: bytes, fast: bool) -> None:
    assert await after_several_ranges(answer, fast=fast) == [b"down"] * 2


@BOTH_WAYS
async def test_the_length_of_a_part_in_answer_to_head_is_not_that_of_the_whole(fast: bool) -> None:
    origin = Origin(response(WHOLE, 'ETag: "1"'))
    async with wired(origin, STALE, fast=fast) as proxy:
        await proxy.ask()
        proxy.wait(2)
        origin.answer = part(WHOLE, 0, 1, 'ETag: "1"')
        await proxy.ask("HEAD", "Range: bytes=0-1")
        origin.answer = DOWN

        assert (await proxy.ask()).body == WHOLE


@BOTH_WAYS
async def test_several_ranges_on_what_is_not_stored_pass_each_time(fast: bool) -> None:
    async with wired(Origin(many('ETag: "1"')), PLAIN_ROUTE, fast=fast) as proxy:
        for _ in range(3):
            answer = await proxy.ask("GET", SEVERAL)
            assert (answer.status, answer.body) == (206, MANY)
