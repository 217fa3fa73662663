"""Answers written together: how many and how much may wait for the end of a turn."""

import asyncio
from typing import Any

from metaproxy.outbox import MOST_BYTES, MOST_WAITING, Outbox
from tests.unit.fast_lane.lines import Wire


async def test_small_answers_wait_for_the_end_of_the_turn() -> None:
    outbox, wire, loop = Outbox(), wire_of(), asyncio.get_running_loop()

    outbox.write(wire, b"one", loop)
    outbox.write(wire, b"two", loop)
    at_once = list(wire.written)
    await asyncio.sleep(0)

    assert at_once == []
    assert wire.written == [b"one", b"two"]


async def test_no_more_than_so_many_octets_wait() -> None:
    outbox, wire, loop = Outbox(), wire_of(), asyncio.get_running_loop()
    half = b"x" * (MOST_BYTES // 2)

    for _ in range(4):
        outbox.write(wire, half, loop)

    assert wire.written == [half] * 4


async def test_no_more_than_so_many_answers_wait() -> None:
    outbox, wire, loop = Outbox(), wire_of(), asyncio.get_running_loop()

    for _ in range(MOST_WAITING):
        outbox.write(wire, b"", loop)

    assert len(wire.written) == MOST_WAITING


def wire_of() -> Any:
    return Wire()
