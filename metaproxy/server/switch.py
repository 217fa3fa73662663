"""The application in use, and how another takes its place without a request noticing.

A request belongs to the application that was in use when it came, to its end. An application that was
replaced is closed when its last request has ended; what it shares with its successor goes on.
"""

from dataclasses import dataclass
from functools import partial

from starlette.types import ASGIApp, Receive, Scope, Send

from metaproxy.app import Application
from metaproxy.fast_lane import FastLane, Passing
from metaproxy.tasks import TaskSet


@dataclass(slots=True, eq=False)
class _Line:
    """An application with the number of requests that it is working on."""

    application: Application
    fast_lane: FastLane | None
    requests: int = 0
    replaced: bool = False
    closed: bool = False


class Switch:
    """An ASGI application, and a fast lane, that is whichever application is in use.

    ``application`` is the one that gets the next request.
    """

    def __init__(self, application: Application) -> None:
        self._line = _Line(application, application.fast_lane())
        self._closing = TaskSet()

    @property
    def application(self) -> Application:
        """The application that gets the next request."""
        return self._line.application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI interface."""
        line = self._line
        await self._run(line, line.application, scope, receive, send)

    def repeat(self, octets: bytes, address: str, scheme: str) -> bytes | Passing | None:
        """Return the answer to a request of which the very octets came before, or who gives it, or None."""
        line = self._line
        if line.fast_lane is None:
            return None
        answer = line.fast_lane.repeat(octets, address, scheme)
        if answer is None or isinstance(answer, bytes):
            return answer
        return self._held(line, answer)

    def answer(self, scope: Scope, *, keep_alive: bool, octets: bytes = b"") -> bytes | Passing | ASGIApp:
        """Return the whole answer to the request of ``scope``, or who will give it."""
        line = self._line
        if line.fast_lane is None:
            return self
        answer = line.fast_lane.answer(scope, keep_alive=keep_alive, octets=octets)
        if isinstance(answer, bytes):
            return answer
        if isinstance(answer, Passing):
            return self._held(line, answer)
        return partial(self._run, line, answer)

    def replace(self, application: Application) -> None:
        """Give every request from now on to ``application``, which has been started."""
        old, self._line = self._line, _Line(application, application.fast_lane())
        old.replaced = True
        self._close_if_idle(old)

    async def close(self) -> None:
        """Close the application in use, after those that were replaced; no request runs any more."""
        await self._closing.join()
        await self._line.application.close()

    async def _run(self, line: _Line, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        line.requests += 1
        try:
            await app(scope, receive, send)
        finally:
            self._ended(line)

    def _held(self, line: _Line, passing: Passing) -> Passing:
        """Let the application stay open until what is passed on has ended."""
        line.requests += 1
        passing.ended = partial(self._ended, line)
        return passing

    def _ended(self, line: _Line) -> None:
        line.requests -= 1
        self._close_if_idle(line)

    def _close_if_idle(self, line: _Line) -> None:
        if line.replaced and not line.requests:
            self._closing.start(self._close(line), name="close a replaced application")

    async def _close(self, line: _Line) -> None:
        # A request that ``answer`` returned is counted when its task begins. Tasks begin in order of their
        # creation, so by now every request has begun that was given to this line before it was replaced.
        if not line.requests and not line.closed:
            line.closed = True
            await line.application.close()
