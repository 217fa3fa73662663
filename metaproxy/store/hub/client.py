"""A worker's end of the connection to the hub in its supervisor.

Requests are pipelined: those of one turn of the event loop are written together, and each has a future for
its answer. No request has a task or a timer of its own.

    state     event                          next state
    open      an answer is overdue           slow: only requests that have no deadline are sent
    slow      the supervisor answers         open
    any       the connection ends            closed, for good: the worker leaves
"""

import asyncio
import itertools
import socket
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TypeVar, cast

from metaproxy import clock
from metaproxy.clock import Clock
from metaproxy.store.availability import Availability
from metaproxy.store.hub.frames import MOST_NUMBERS, Frames, MessageError, framed
from metaproxy.store.hub.messages import (
    Answer,
    Beat,
    Delivery,
    FromHub,
    Missed,
    Request,
    packed,
    read_from_hub,
)
from metaproxy.store.unavailable import StoreUnavailable

ANSWER_SECONDS = 2.0
"""How long an answer may take. The supervisor answers within a millisecond, unless the machine is busy. A
worker that gives up early counts alone, and admits requests that the others know nothing of."""

MAX_ASKED = 10_000
"""Requests that wait for an answer. More are refused at once, so that a supervisor that stands still takes no
memory."""

AnswerT = TypeVar("AnswerT", bound=Answer)

Answered = asyncio.Future[Answer]
Deliver = Callable[[str, bytes], None]


class HubClient(asyncio.Protocol):
    """Asks the hub.

    Args:
        end: this worker's end of the connection.
        timeout_seconds: how long an answer may take.
        monotonic: the clock that this is measured with.
    """

    def __init__(
        self,
        end: socket.socket,
        *,
        timeout_seconds: float = ANSWER_SECONDS,
        monotonic: Clock = clock.monotonic,
    ) -> None:
        self.reach = Availability("supervisor", monotonic=monotonic)
        """True if the hub answers."""
        self.ended = asyncio.Event()
        """Set when the connection has ended."""
        self.deliver: Deliver = lambda _channel, _payload: None
        """Called with the channel and the payload of each message that was published."""
        self.missed: Callable[[], None] = lambda: None
        """Called when published messages do not arrive, and when the connection ends."""
        self._end = end
        self._timeout_seconds = timeout_seconds
        self._monotonic = monotonic
        self._frames = Frames()
        self._numbers = itertools.count(1)
        self._asked: dict[int, Answered] = {}
        self._deadlines: deque[tuple[float, int]] = deque()
        self._unsent: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self._is_started = False

    @property
    def available(self) -> bool:
        """False from the first answer that is overdue until the hub answers again."""
        return self.reach.available

    async def start(self) -> None:
        """Begin to send and to receive, first the requests that were made before."""
        if not self._is_started:
            self._is_started = True
            self._end.setblocking(False)  # noqa: FBT003 - its only argument
            await asyncio.get_running_loop().create_connection(lambda: self, sock=self._end)

    async def close(self) -> None:
        """End the connection."""
        if self._transport is not None:
            self._transport.abort()
        elif not self._is_started:
            self._end.close()
        self._fail()
        await self.reach.close()

    async def ask_for(self, kind: type[AnswerT], request: Request) -> AnswerT:
        """Send ``request`` and return its answer, which is of this ``kind``; raises StoreUnavailable."""
        answer = await self.ask(request)
        if not isinstance(answer, kind):
            raise StoreUnavailable(f"the supervisor answered with {type(answer).__name__}")
        return answer

    def ask(self, request: Request, *, patiently: bool = False) -> Answered:
        """Send ``request``; the future has the answer, or StoreUnavailable.

        ``patiently`` sets no deadline, and asks although the hub is slow. Raises StoreUnavailable if the hub
        cannot be asked, or if the request is too long.
        """
        if self.ended.is_set() or not (self.reach.available or patiently):
            raise StoreUnavailable(self.reach.trouble or "the supervisor is gone")
        if len(self._asked) >= MAX_ASKED and not patiently:
            raise StoreUnavailable("too many requests wait for the supervisor")
        try:
            return self._send(packed(request), patiently=patiently)
        except MessageError as error:
            raise StoreUnavailable(str(error)) from error

    def send(self, content: bytes) -> Answered | None:
        """Do what ``ask`` does with a request that is packed; None, and nothing is sent, if it raises."""
        if not self.reach.available or self.ended.is_set() or len(self._asked) >= MAX_ASKED:
            return None
        return self._send(content)

    def _send(self, content: bytes, *, patiently: bool = False) -> Answered:
        number = next(self._numbers) % MOST_NUMBERS
        frame = framed(number, content)
        loop = asyncio.get_running_loop()
        answered = self._asked[number] = loop.create_future()
        if not patiently:
            deadline = self._monotonic() + self._timeout_seconds
            self._deadlines.append((deadline, number))
            if self._timer is None:
                self._timer = loop.call_later(self._timeout_seconds, self._check_deadlines)
        if not self._unsent and self._transport is not None:
            loop.call_soon(self._flush)
        self._unsent.append(frame)
        return answered

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the requests that were made before (asyncio.Protocol)."""
        self._transport = cast(asyncio.Transport, transport)
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Hand out the answers in ``data`` (asyncio.Protocol)."""
        self._frames.feed(data)
        try:
            while (frame := self._frames.next()) is not None:
                number, content = frame
                self._hand_out(number, read_from_hub(content))
        except MessageError:
            if self._transport is not None:
                self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail every request that waits (asyncio.Protocol)."""
        self.reach.lose(ConnectionError("the supervisor closed the connection"), self._is_back)
        self._fail()
        self.missed()

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        if unsent and self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(unsent))

    def _hand_out(self, number: int, message: FromHub) -> None:
        match message:
            case Delivery(channel, payload):
                self.deliver(channel, payload)
            case Missed():
                self.missed()
            case _:
                answered = self._asked.pop(number, None)
                if answered is not None and not answered.done():
                    answered.set_result(message)

    def _fail(self) -> None:
        self.ended.set()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        asked, self._asked = self._asked, {}
        for answered in asked.values():
            _give_up(answered, "the supervisor is gone")

    def _check_deadlines(self, *, is_last: bool = False) -> None:
        """Give up the answers that are overdue; ``is_last`` if one was overdue a moment ago.

        This process itself may have been stopped for a while. So it first reads what has arrived meanwhile.
        """
        self._timer = None
        while self._deadlines and self._deadlines[0][1] not in self._asked:
            self._deadlines.popleft()
        if not self._deadlines:
            return
        loop, left = asyncio.get_running_loop(), self._deadlines[0][0] - self._monotonic()
        if left > 0:
            self._timer = loop.call_later(left, self._check_deadlines)
        elif not is_last:
            check = partial(self._check_deadlines, is_last=True)
            self._timer = loop.call_later(self._timeout_seconds / 10, check)
        else:
            error = TimeoutError(f"the supervisor has not answered for {self._timeout_seconds:g} s")
            overdue, self._deadlines = self._deadlines, deque()
            for _, number in overdue:  # the hub answers in order, so the others come even later
                if (answered := self._asked.pop(number, None)) is not None:
                    _give_up(answered, str(error))
            self.reach.lose(error, self._is_back)

    async def _is_back(self) -> bool:
        """Return True if the hub answers now; wait for that, because it answers in order."""
        try:
            await self.ask(Beat(), patiently=True)
        except StoreUnavailable:
            await (
                asyncio.get_running_loop().create_future()
            )  # the connection has ended; ``close`` cancels this
        return True


def _give_up(answered: Answered, why: str) -> None:
    if not answered.done():
        answered.set_exception(StoreUnavailable(why))
        answered.exception()  # the task that asked may have been cancelled; asyncio would log the exception
