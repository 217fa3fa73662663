"""Small answers wait for the end of the event loop's turn, in order, and not for longer."""

import asyncio
from typing import Any

from metaproxy.outbox import MOST_WAITING, Outbox


class Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: Any) -> None:
        self.written.append(data)

    def is_closing(self) -> bool:
        return self.closed


async def test_what_is_written_in_a_turn_leaves_at_its_end_in_order() -> None:
    outbox, transport, loop = Outbox(), Transport(), asyncio.get_running_loop()

    outbox.write(transport, b"first", loop)
    outbox.write(transport, b"second", loop)
    assert transport.written == []
    await asyncio.sleep(0)

    assert transport.written == [b"first", b"second"]


async def test_what_must_not_wait_is_written_at_once() -> None:
    outbox, transport = Outbox(), Transport()
    outbox.write(transport, b"first", asyncio.get_running_loop())

    outbox.flush()
    transport.write(b"second")
    await asyncio.sleep(0)

    assert transport.written == [b"first", b"second"]


async def test_what_waits_is_bounded() -> None:
    outbox, transport, loop = Outbox(), Transport(), asyncio.get_running_loop()

    for _ in range(MOST_WAITING):
        outbox.write(transport, b"x", loop)

    assert len(transport.written) == MOST_WAITING


async def test_a_connection_that_was_closed_meanwhile_gets_nothing() -> None:
    outbox, transport = Outbox(), Transport()
    outbox.write(transport, b"x", asyncio.get_running_loop())

    transport.closed = True
    await asyncio.sleep(0)

    assert transport.written == []
