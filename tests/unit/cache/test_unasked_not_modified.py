"""A 304 to a request that had no condition: no client gets it, and it confirms nothing that is stored."""

from collections.abc import Callable

import pytest

from metaproxy.cache.settings import CacheRoute
from tests.unit.cache.wire import ITEM, PATH, PLAIN_ROUTE, Origin, response, wired
from tests.unit.forward.scripted import Peer, answers

BOTH_WAYS = pytest.mark.parametrize("fast", [True, False], ids=["lane", "line"])
SERVER = "/v2.1/t1/servers/s1"
NOT_MODIFIED = b'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\n\r\n'
PART = response(b"01234", "Content-Range: bytes 0-4/10", 'ETag: "1"', status="206 Partial Content")
WHOLE = response(b"0123456789", 'ETag: "1"')


class Lying(Origin):
    """Answers with a 304 whatever request ``lies_to`` says yes to."""

    lies_to: Callable[[bytes], bool] = staticmethod(lambda _head: True)

    async def __call__(self, peer: Peer) -> None:
        while True:
            head = await peer.head()
            lies = self.lies_to(head.lower())
            to_head = self.answer.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
            await peer.send(NOT_MODIFIED if lies else to_head if head.startswith(b"HEAD") else self.answer)


@BOTH_WAYS
@pytest.mark.parametrize("path", [ITEM, SERVER])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_no_client_without_a_condition_gets_a_304(method: str, path: str, fast: bool) -> None:
    async with wired(answers(NOT_MODIFIED), fast=fast) as proxy:
        statuses = [(await proxy.ask(method, path=path)).status for _ in range(4)]

    assert statuses == [502] * 4


@BOTH_WAYS
@pytest.mark.parametrize("fields", [("Range: bytes=0-1",), ("Range: bytes=0-1,3-4",), ('If-Match: "1"',)])
async def test_a_range_is_not_a_condition(fields: tuple[str, ...], fast: bool) -> None:
    async with wired(answers(NOT_MODIFIED), fast=fast) as proxy:
        statuses = [(await proxy.ask("GET", *fields)).status for _ in range(3)]

    assert statuses == [502] * 3


@BOTH_WAYS
@pytest.mark.parametrize(
    "condition", ['If-None-Match: "1"', "If-Modified-Since: Mon, 02 Nov 2026 10:00:00 GMT"]
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_client_with_a_condition_gets_its_304(method: str, condition: str, fast: bool) -> None:
    async with wired(answers(NOT_MODIFIED), fast=fast) as proxy:
        statuses = [(await proxy.ask(method, condition, path=SERVER)).status for _ in range(4)]

    assert statuses == [304] * 4


@BOTH_WAYS
async def test_the_answer_to_a_write_passes_whatever_it_says(fast: bool) -> None:
    async with wired(answers(NOT_MODIFIED), fast=fast) as proxy:
        statuses = [(await proxy.ask("POST", path=SERVER)).status for _ in range(2)]

    assert statuses == [304] * 2
    assert len(proxy.upstream.heads) == 2


@BOTH_WAYS
async def test_the_connection_of_a_304_that_was_not_asked_for_goes_on(fast: bool) -> None:
    async with wired(answers(NOT_MODIFIED, response(b"ok")), fast=fast) as proxy:
        first = await proxy.ask(path=SERVER)
        second = await proxy.ask(path=SERVER)

    assert (first.status, second.status, second.body) == (502, 200, b"ok")


@BOTH_WAYS
async def test_the_condition_of_a_client_that_the_cache_takes_off_is_not_answered_304(fast: bool) -> None:
    origin = Lying()
    origin.lies_to = lambda head: b"if-none-match" not in head
    async with wired(origin, fast=fast) as proxy:
        statuses = [(await proxy.ask("GET", 'If-None-Match: "1"')).status for _ in range(3)]

    assert statuses == [502] * 3


@BOTH_WAYS
async def test_a_304_confirms_nothing_that_has_no_validator(fast: bool) -> None:
    origin = Origin(response(b"old"))
    async with wired(origin, CacheRoute(path=PATH, ttl=1), fast=fast) as proxy:
        await proxy.ask()
        proxy.wait(2)
        origin.answer = NOT_MODIFIED
        lied = await proxy.ask()
        origin.answer = response(b"new")
        after = [(await proxy.ask()).body for _ in range(3)]

    assert (lied.status, after) == (502, [b"new"] * 3)


@BOTH_WAYS
async def test_a_304_that_was_not_asked_for_is_an_error_that_a_stale_answer_may_replace(fast: bool) -> None:
    origin = Origin(response(b"old"))
    async with wired(origin, CacheRoute(path=PATH, ttl=1, stale_if_error=60), fast=fast) as proxy:
        await proxy.ask()
        proxy.wait(2)
        origin.answer = NOT_MODIFIED
        bodies = [(await proxy.ask()).body for _ in range(3)]

    assert bodies == [b"old"] * 3


@BOTH_WAYS
async def test_a_completion_that_is_answered_304_is_asked_again_for_the_whole(fast: bool) -> None:
    origin = Lying(PART)
    origin.lies_to = lambda head: b"if-range" in head
    async with wired(origin, PLAIN_ROUTE, fast=fast) as proxy:
        await proxy.ask("GET", "Range: bytes=0-4")
        origin.answer = WHOLE
        bodies = [(await proxy.ask()).body for _ in range(3)]

    assert bodies == [b"0123456789"] * 3
    assert [b"if-range" in head for head in proxy.upstream.heads] == [False, True, False]


@BOTH_WAYS
async def test_a_completion_that_is_always_answered_304_is_a_bad_gateway(fast: bool) -> None:
    origin = Origin(PART)
    async with wired(origin, PLAIN_ROUTE, fast=fast) as proxy:
        await proxy.ask("GET", "Range: bytes=0-4")
        origin.answer = NOT_MODIFIED
        statuses = [(await proxy.ask()).status for _ in range(3)]

    assert statuses == [502] * 3
