"""The client's side of a request that is being forwarded: its body, and whether it is still there."""

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

import httpx
from starlette.types import Receive

from metaproxy.clock import Clock, monotonic
from metaproxy.exchange import ClientDisconnected
from metaproxy.tasks import TaskSet

NO_BODY = httpx.ByteStream(b"")

WATCH_AFTER_SECONDS = 0.02
"""Most answers are complete before; they are spared the task that watches."""


class Client(httpx.AsyncByteStream):
    """Reads a request's body, then watches for the client to hang up.

    Inside its ``with`` block, a client that hangs up ends the block's task: what it awaits is cancelled
    and the block raises ClientDisconnected.

    Args:
        receive: the ASGI callable; nobody else may call it meanwhile.
        has_body: whether the request has a body to be read.
        tasks: holds the watch.
        monotonic: measures how long the body was waited for.
    """

    def __init__(
        self, receive: Receive, *, has_body: bool, tasks: TaskSet, monotonic: Clock = monotonic
    ) -> None:
        self._receive = receive
        self._has_body = has_body
        self._tasks = tasks
        self._monotonic = monotonic
        self._awaited = 0.0
        self._awaits_since: float | None = None
        self._watching: asyncio.Task[None] | asyncio.TimerHandle | None = None
        self._is_gone = False
        self._was_read = False

    @property
    def can_be_sent_again(self) -> bool:
        """True if no piece of the request's body has been taken from the client."""
        return not self._was_read

    @property
    def seconds_awaited(self) -> float:
        """How long the client was waited for, until now, to send its body."""
        if self._awaits_since is None:
            return self._awaited
        return self._awaited + self._monotonic() - self._awaits_since

    @property
    def body(self) -> httpx.AsyncByteStream:
        """The request's body."""
        return self if self._has_body else NO_BODY

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a request is handled in a task")
        self._task = task
        self._cancelling = task.cancelling()
        if not self._has_body:
            self.watch()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.dismiss()
        if self._is_gone and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise ClientDisconnected from error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        more = self._was_read = True
        while more:
            self._awaits_since = self._monotonic()
            message = await self._receive()
            self._awaited, self._awaits_since = self.seconds_awaited, None
            if message["type"] == "http.disconnect":
                raise ClientDisconnected
            more = message.get("more_body", False)
            if not more:
                self.watch()
            yield message.get("body", b"")

    def watch(self) -> None:
        """From now on, nobody reads the body: what is left of it is dropped."""
        if self._watching is None:
            loop = asyncio.get_running_loop()
            self._watching = loop.call_later(WATCH_AFTER_SECONDS, self._start_to_watch)

    def dismiss(self) -> None:
        """The answer is complete: servers then say that the client has gone, and it may."""
        if self._watching is not None:
            self._watching.cancel()

    def _start_to_watch(self) -> None:
        self._watching = self._tasks.start(self._watch(), name="watch for the client to hang up")

    async def _watch(self) -> None:
        try:
            while (await self._receive())["type"] != "http.disconnect":
                pass
        except Exception:  # noqa: BLE001 - a limit on bytes that nobody reads any more changes nothing
            return
        self._is_gone = True
        self._task.cancel()
