"""How long a response may be waited for, and what receives it."""

import asyncio
from collections.abc import Callable
from typing import NamedTuple, Protocol

from metaproxy.forward.engine.body import ResponseBody
from metaproxy.forward.engine.parser import ResponseHead

OnInterim = Callable[[ResponseHead], None]
"""Called with each interim response that comes before the final one."""


class Patience(NamedTuple):
    """How many seconds may pass without a byte read, or written, that is waited for."""

    read: float = 30.0
    write: float = 30.0


class Taker(Protocol):
    """The receiver of a response without a task: it takes a whole response, and hands any other over."""

    def take(self, head: ResponseHead, body: bytes, /) -> bool:
        """Take a whole response; False if it must go on as one that comes piece by piece."""

    def hand_over(self, head: "asyncio.Future[ResponseHead]", body: ResponseBody, /) -> None:
        """Let a task wait for ``head`` and read ``body``, because the response does not come as a whole."""

    def take_interim(self, head: ResponseHead, /) -> None:
        """Take an interim response. The response that it belongs to is handed over before."""
