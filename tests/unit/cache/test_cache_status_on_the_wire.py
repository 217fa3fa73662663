"""Cache-Status as clients get it (RFC 9211)."""

import pytest

from metaproxy.cache.settings import CacheRoute
from tests.unit.cache.wire import PATH, STALE_ROUTE, Origin, response, wired
from tests.unit.forward.scripted import Peer

BOTH_WAYS = pytest.mark.parametrize("fast", [True, False], ids=["lane", "line"])


@BOTH_WAYS
async def test_the_answer_that_is_stored_and_its_hit_are_fresh_for_as_long(fast: bool) -> None:
    async with wired(Origin(response(b"ok", "Cache-Control: max-age=60")), fast=fast) as proxy:
        proxy.line.clock.now += 0.25  # so that Date, which has no fractions, is not now
        answers = [await proxy.ask() for _ in range(3)]

    assert [answer.cache_status for answer in answers] == [
        "metaproxy; fwd=uri-miss; ttl=60; stored",
        "metaproxy; hit; ttl=60",
        "metaproxy; hit; ttl=60",
    ]


@BOTH_WAYS
async def test_partial_is_said_of_stored_parts_alone(fast: bool) -> None:
    origin = Origin(response(b"0123456789", 'ETag: "1"'))
    async with wired(origin, CacheRoute(path=PATH, ttl=1, stale_if_error=60), fast=fast) as proxy:
        missed = await proxy.ask("GET", "Range: bytes=0-1", "Cache-Control: no-store")
        await proxy.ask()
        proxy.wait(2)
        origin.answer = response(b"down", status="503 Service Unavailable")
        stale = await proxy.ask("GET", "Range: bytes=0-1")

    assert missed.cache_status == "metaproxy; fwd=uri-miss"
    assert (stale.status, stale.cache_status) == (206, "metaproxy; fwd=stale; fwd-status=503")


@BOTH_WAYS
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_bad_gateway_says_why_the_request_went_forward(method: str, fast: bool) -> None:
    async def hangs_up(peer: Peer) -> None:
        await peer.head()

    async with wired(hangs_up, STALE_ROUTE, fast=fast) as proxy:
        answers = [await proxy.ask(method) for _ in range(3)]

    assert [(answer.status, answer.cache_status) for answer in answers] == [
        (502, "metaproxy; fwd=uri-miss")
    ] * 3
