"""A worker's end of the link to its supervisor."""

import asyncio
import socket

from metaproxy.admin.service import ConfigState
from metaproxy.server.follow import Follower
from metaproxy.server.messages import Ask, Link, Outcome, Serving

STATE = ConfigState("metaproxy.yaml", generation=1, loaded_at=0.0)


class Reloader:
    """Stands for the application of the worker."""

    state = STATE


def leave() -> None:
    """Stands for what ends a worker at once."""


async def test_a_reload_that_is_asked_for_before_the_link_is_open_is_sent_when_it_is() -> None:
    ours, theirs = socket.socketpair()
    link = Link(ours)
    follower = Follower(theirs, Reloader(), break_off=leave)  # type: ignore[arg-type] # stands for one

    asked = asyncio.ensure_future(follower.reload("operator"))
    await asyncio.sleep(0)
    following = asyncio.ensure_future(follower.follow())
    said: list[object] = []
    while len(said) < 2:
        said += link.receive()
        await asyncio.sleep(0)
    ask = said[1]
    assert isinstance(said[0], Serving)
    assert isinstance(ask, Ask)
    link.send(Outcome(ask.number, ()))

    assert await asked == STATE
    link.close()
    await following
