import asyncio
from typing import Any

from metaproxy.fast_lane import Passing
from metaproxy.server.switch import Switch
from tests.asgi_driver import drive, make_scope


class Line:
    """Stands for an application: answers with its name once it is let."""

    def __init__(self, name: bytes, *, lane: bytes | None = None) -> None:
        self.name = name
        self.closed = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self._lane = lane

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.may_answer.wait()
        assert not self.closed
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": self.name})

    def fast_lane(self) -> "Line | None":
        return self if self._lane is not None else None

    def answer(self, scope: Any, *, keep_alive: bool, octets: bytes = b"") -> Any:
        return self._lane or self

    async def close(self) -> None:
        self.closed += 1


def switch_to(line: Line) -> Switch:
    return Switch(line)  # type: ignore[arg-type] # stands for an application


def replace(switch: Switch, line: Line) -> None:
    switch.replace(line)  # type: ignore[arg-type] # stands for an application


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_the_next_request_goes_to_the_application_that_took_the_place() -> None:
    old, new = Line(b"old"), Line(b"new")
    switch = switch_to(old)

    before = await drive(switch, "GET", "/")
    replace(switch, new)
    after = await drive(switch, "GET", "/")

    assert (before.body, after.body) == (b"old", b"new")


async def test_an_application_is_closed_once_when_its_last_request_has_ended() -> None:
    old, new = Line(b"old"), Line(b"new")
    old.may_answer.clear()
    switch = switch_to(old)
    requests = [asyncio.ensure_future(drive(switch, "GET", "/")) for _ in range(2)]
    await settle()

    replace(switch, new)
    await settle()
    closed_before = old.closed
    old.may_answer.set()
    answers = await asyncio.gather(*requests)
    await settle()

    assert [answer.body for answer in answers] == [b"old", b"old"]
    assert (closed_before, old.closed, new.closed) == (0, 1, 0)


async def test_an_idle_application_is_closed_when_it_is_replaced() -> None:
    old = Line(b"old")
    switch = switch_to(old)

    replace(switch, Line(b"new"))
    await settle()

    assert old.closed == 1


async def test_a_request_that_has_been_given_away_but_not_begun_keeps_its_application_open() -> None:
    old = Line(b"old", lane=b"")
    switch = switch_to(old)

    app = switch.answer(make_scope("GET", "/"), keep_alive=True)
    assert not isinstance(app, bytes | Passing)
    request = asyncio.ensure_future(drive(app, "GET", "/"))
    replace(switch, Line(b"new"))
    answer = await request
    await settle()

    assert (answer.body, old.closed) == (b"old", 1)


async def test_the_fast_lane_is_that_of_the_application_in_use() -> None:
    switch = switch_to(Line(b"old", lane=b"old at once"))

    before = switch.answer(make_scope("GET", "/"), keep_alive=True)
    replace(switch, Line(b"new", lane=b"new at once"))
    after = switch.answer(make_scope("GET", "/"), keep_alive=True)

    assert (before, after) == (b"old at once", b"new at once")


async def test_without_a_fast_lane_the_line_is_taken() -> None:
    switch = switch_to(Line(b"old"))

    assert switch.answer(make_scope("GET", "/"), keep_alive=True) is switch


async def test_at_the_end_all_are_closed() -> None:
    old, new = Line(b"old"), Line(b"new")
    switch = switch_to(old)
    replace(switch, new)

    await switch.close()

    assert (old.closed, new.closed) == (1, 1)
