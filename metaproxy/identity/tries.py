"""Further tries of a call to identity, and the choice among several URLs of it.

Facts this file rests on. A connection that is refused, or breaks before its answer is complete, is tried
again: a service that restarts is back in a moment. Asking twice does no harm, because a validation
changes nothing and of two logins one is not used. Pauses grow, so that a service that comes back is not
flooded. An answer is never asked for again from the same URL, and all tries share the call's deadline.

Of several URLs, the one that answered last is asked first. If it refuses, breaks off, is slow or fails
(5xx), the others are asked in their order; each has an equal share of the time that is left.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import httpx

T = TypeVar("T")

QUICK_SECONDS = 1.0
"""How long a service that did not answer the call before is tried: in an outage, clients are told soon."""
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
"""Seconds between two rounds; doubled with every round."""

BROKEN = (httpx.NetworkError, httpx.RemoteProtocolError, ConnectionError)
"""How a connection fails that may work when it is tried again."""
SLOW = (httpx.ConnectTimeout, httpx.ReadTimeout, httpx.WriteTimeout, TimeoutError)
"""How one of several services fails while another may work."""

Ask = Callable[[str], Awaitable[T]]
"""Sends one request to a URL; raises httpx.TransportError or OSError."""


class Tries(Generic[T]):
    """Calls one service, which has one URL or several, until it answers.

    Args:
        timeout: seconds for one call, all tries included.
        has_failed: whether an answer says that another URL should be asked, if there is one.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        timeout: float,
        has_failed: Callable[[T], bool],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._urls = tuple(urls)
        self._timeout = timeout
        self._has_failed = has_failed
        self._sleep = sleep
        self._first = 0
        self._answered_last = False

    async def call(self, ask: Ask[T]) -> T:
        """Return the answer; raises what failed last, or TimeoutError."""
        try:
            answer = await self._until_answered(ask)
        except Exception:
            self._answered_last = False
            raise
        self._answered_last = True
        return answer

    async def _until_answered(self, ask: Ask[T]) -> T:
        patience = self._timeout if self._answered_last else min(self._timeout, QUICK_SECONDS)
        failed: Exception | None = None
        pause, paused = FIRST_PAUSE, 0.0
        try:
            async with asyncio.timeout(self._timeout) as deadline:
                while True:
                    try:
                        return await self._ask_in_turn(ask, deadline.when() or 0.0)
                    except BROKEN as error:
                        failed = error
                    paused += pause
                    if paused > patience:
                        raise failed
                    await self._sleep(pause)
                    pause = min(2 * pause, LONGEST_PAUSE)
        except TimeoutError:
            if failed is None:
                raise
            raise failed from failed.__cause__  # which says more than that there was no time for another try

    async def _ask_in_turn(self, ask: Ask[T], deadline: float) -> T:
        """Ask one URL after the other until one answers; the answer or the failure of the last one counts."""
        for left in range(len(self._urls), 1, -1):
            at = self._first
            remaining = deadline - asyncio.get_running_loop().time()
            try:
                async with asyncio.timeout(remaining / left):
                    answer = await ask(self._urls[at])
            except (*BROKEN, *SLOW):
                pass
            else:
                if not self._has_failed(answer):
                    return answer
            if self._first == at:  # else another call has gone on already
                self._first = (at + 1) % len(self._urls)
        return await ask(self._urls[self._first])
