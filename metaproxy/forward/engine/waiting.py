"""Who waits for a response, and how long."""

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


class HeadWaiter(Protocol):
    """Who waits for the head of a response: a future, or what knows a shorter way."""

    def done(self) -> bool:
        """Say whether nobody waits any more."""

    def set_result(self, head: ResponseHead, /) -> None:
        """The head is there."""

    def set_exception(self, error: Exception, /) -> None:
        """It will not come."""


class Taker(HeadWaiter, Protocol):
    """Who takes a response as a whole, if it comes so, and else waits for its head."""

    def take(self, head: ResponseHead, body: bytes, /) -> bool:
        """Take a whole response; False where it must go on as one that comes piece by piece."""

    def by_pieces(self) -> ResponseBody:
        """Return what a body is fed to that comes piece by piece."""

    def take_interim(self, head: ResponseHead, /) -> None:
        """Take an interim response; the response then comes piece by piece."""
