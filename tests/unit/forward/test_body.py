import asyncio

import httpx
import pytest

from metaproxy.forward.engine.body import HIGH_WATER_BYTES, ResponseBody


class Source:
    """Where a body comes from; keeps what the body asks of it."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def pause(self) -> None:
        self.calls.append("pause")

    def resume(self) -> None:
        self.calls.append("resume")

    def awaited(self) -> None:
        self.calls.append("awaited")

    def abandon(self) -> None:
        self.calls.append("abandon")


async def test_what_was_fed_is_read_in_order() -> None:
    body = ResponseBody(Source())
    body.feed(b"one")
    body.feed(b"two")
    body.finish()

    assert [chunk async for chunk in body] == [b"one", b"two"]


async def test_a_reader_waits_for_more() -> None:
    source = Source()
    body = ResponseBody(source)
    reading = asyncio.ensure_future(anext(aiter(body)))
    await asyncio.sleep(0)
    assert source.calls == ["awaited"]

    body.feed(b"one")

    assert await reading == b"one"


async def test_the_source_is_paused_above_the_mark_and_resumed_well_below() -> None:
    source = Source()
    body = ResponseBody(source)
    quarter = bytes(HIGH_WATER_BYTES // 4)

    for _ in range(5):
        body.feed(quarter)
    assert source.calls == ["pause"]

    for _ in range(3):
        await anext(body)
    assert source.calls == ["pause"]
    await anext(body)
    assert source.calls == ["pause", "resume"]


async def test_a_source_that_is_done_is_not_left_paused() -> None:
    source = Source()
    body = ResponseBody(source)
    body.feed(bytes(HIGH_WATER_BYTES + 1))

    body.finish()

    assert source.calls == ["pause", "resume"]


async def test_an_error_shows_after_what_came_before_it() -> None:
    body = ResponseBody(Source())
    body.feed(b"one")
    body.finish(httpx.ReadError("broken"))

    assert await anext(body) == b"one"
    with pytest.raises(httpx.ReadError):
        await anext(body)


async def test_giving_up_an_unfinished_body_gives_up_its_source() -> None:
    source = Source()
    body = ResponseBody(source)
    body.feed(b"one")

    await body.aclose()
    await body.aclose()

    assert source.calls == ["abandon"]
    with pytest.raises(httpx.StreamClosed):
        await anext(body)


async def test_giving_up_a_finished_body_leaves_its_source_alone() -> None:
    source = Source()
    body = ResponseBody(source)
    body.feed(b"one")
    body.finish()

    await body.aclose()

    assert source.calls == []
