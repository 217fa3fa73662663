"""Stale answers in place of errors for requests that are passed on: HEAD, and ranges."""

import pytest

from metaproxy.cache.settings import CacheRoute
from tests.unit.cache.wire import ERROR_ROUTE, PATH, Origin, response, wired
from tests.unit.forward.scripted import Peer

BOTH_WAYS = pytest.mark.parametrize("fast", [True, False], ids=["lane", "line"])
WHOLE = b"0123456789"
LESS = pytest.mark.parametrize(
    ("method", "fields", "status", "body"),
    [
        ("HEAD", (), 200, b""),
        ("HEAD", ("Range: bytes=0-4",), 200, b""),
        ("GET", ("Range: bytes=0-4",), 206, b"01234"),
        ("GET", ("Range: bytes=0-4", 'If-Range: "1"'), 206, b"01234"),
        ("GET", ("Range: bytes=0-4", 'If-None-Match: "1"'), 304, b""),
        ("GET", ("Range: bytes=20-",), 416, b""),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
DOWN = {
    "503": response(b"down", status="503 Service Unavailable"),
    "a long 502": response(b"x" * 500_000, status="502 Bad Gateway"),
    "no answer": b"",
    "no HTTP": b"what\r\n\r\n",
}


class Failing(Origin):
    """Closes the connection once it has answered with less than an answer."""

    async def __call__(self, peer: Peer) -> None:
        while self.answer.startswith(b"HTTP"):
            await peer.head()
            if not self.answer.startswith(b"HTTP"):
                break
            await peer.send(self.answer)
        await peer.send(self.answer)


@BOTH_WAYS
@pytest.mark.parametrize("down", DOWN.values(), ids=DOWN)
@LESS
async def test_a_stale_answer_is_sent_in_place_of_an_error(
    method: str, fields: tuple[str, ...], status: int, body: bytes, down: bytes, fast: bool
) -> None:
    origin = Failing(response(WHOLE, 'ETag: "1"'))
    async with wired(origin, ERROR_ROUTE, fast=fast, rules=()) as proxy:
        await proxy.ask()
        proxy.wait(2)
        origin.answer = down
        answers = [await proxy.ask(method, *fields) for _ in range(2)]

    for answer in answers:
        assert (answer.status, answer.body) == (status, body)
        assert answer.cache_status.startswith("metaproxy; fwd=")
        assert answer.cache_status.count("metaproxy") == 1


@BOTH_WAYS
@pytest.mark.parametrize(
    ("stored", "wait", "down", "expected"),
    [
        ("X: y", 100, DOWN["503"], 503),
        ("Cache-Control: max-age=1, must-revalidate", 2, DOWN["503"], 503),
        ("X: y", 2, response(b"no", status="403 Forbidden"), 403),
        ("X: y", 2, response(b"", status="404 Not Found"), 404),
    ],
    ids=["too old", "must-revalidate", "403", "404"],
)
@pytest.mark.parametrize(("method", "field"), [("HEAD", "X: z"), ("GET", "Range: bytes=0-4")])
async def test_an_answer_that_may_not_be_replaced_passes(
    method: str, field: str, stored: str, wait: int, down: bytes, expected: int, fast: bool
) -> None:
    origin = Origin(response(WHOLE, stored))
    async with wired(origin, CacheRoute(path=PATH, ttl=1, stale_if_error=60), fast=fast) as proxy:
        await proxy.ask()
        proxy.wait(wait)
        origin.answer = down

        assert (await proxy.ask(method, field)).status == expected
