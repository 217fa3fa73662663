"""One connection to Redis with any number of commands under way.

A pool gives every command a connection, a task and a timer of its own, which costs several times what
the command itself does. Redis answers in the order in which it was asked (RESP, "Request-Response
model"), so one connection and a queue of those who wait are enough. redis-py opens the connection
(address, TLS, login) and hands it over; from then on hiredis reads it. Redis-py can be installed without
hiredis: ``HAS_HIREDIS`` says whether a pipe can be made.
"""

import asyncio
from collections import deque
from typing import Any

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as ConnectionFailed
from redis.exceptions import NoScriptError, ResponseError
from redis.exceptions import TimeoutError as TimedOut

from metaproxy.clock import Clock

try:
    import hiredis

    HAS_HIREDIS = hasattr(hiredis, "PushNotification")  # since 3.0, which reads RESP3
except ImportError:
    HAS_HIREDIS = False

Part = str | bytes | int


class Pipe(asyncio.Protocol):
    """Sends commands and hands out their replies in order.

    A command that has no reply after ``timeout_seconds`` breaks the connection, and so fails all others:
    what comes behind it in the queue can only come later. As in ``connection``, the time by which this
    process itself was late is granted once more.

    Args:
        connection: a connection of redis-py that is open and idle; the pipe closes it.
        timeout_seconds: how long a reply may take.
        monotonic: the clock that this is measured with.
    """

    def __init__(self, connection: AbstractConnection, *, timeout_seconds: float, monotonic: Clock) -> None:
        self._connection = connection
        self._timeout_seconds = timeout_seconds
        self._monotonic = monotonic
        self._reader = hiredis.Reader()
        self._waiting: deque[tuple[float, asyncio.Future[Any]]] = deque()
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self.is_open = True
        # redis-py has no public way to the transport, nor to closing without waiting.
        writer = connection._writer
        if writer is None:
            raise ConnectionFailed("the connection is not open")
        self._transport: asyncio.WriteTransport = writer.transport
        self._transport.set_protocol(self)

    def ask(self, *command: Part) -> "asyncio.Future[Any]":
        """Send ``command``; the future has its reply, or an error of redis-py's."""
        answered: asyncio.Future[Any] = self._loop.create_future()
        deadline = self._monotonic() + self._timeout_seconds
        self._waiting.append((deadline, answered))
        self._transport.write(hiredis.pack_command(command))  # type: ignore[arg-type] # its stub knows one part
        if self._timer is None:
            self._timer = self._loop.call_later(self._timeout_seconds, self._look, deadline)
        return answered

    def close(self, error: Exception | None = None) -> None:
        """Break the connection off; whoever waits gets ``error``."""
        if not self.is_open:
            return
        self.is_open = False
        if self._timer is not None:
            self._timer.cancel()
        self._transport.abort()
        self._connection._close()  # type: ignore[no-untyped-call] # redis-py is partly typed
        failed, self._waiting = self._waiting, deque()
        for _, answered in failed:
            if not answered.done():
                answered.set_exception(error or ConnectionFailed("the connection was closed"))

    def data_received(self, data: bytes) -> None:
        """Hand out the replies that have come (asyncio.Protocol)."""
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not False:
                self._hand_out(reply)
        except hiredis.ProtocolError as error:
            self.close(ConnectionFailed(str(error)))

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail whoever waits (asyncio.Protocol)."""
        self.close(ConnectionFailed("the server closed the connection"))

    def _hand_out(self, reply: Any) -> None:
        if isinstance(reply, hiredis.PushNotification):
            return  # nobody asked
        _, answered = self._waiting.popleft()
        if answered.done():
            return  # given up
        if isinstance(reply, hiredis.ReplyError):
            answered.set_exception(_error(str(reply)))
        else:
            answered.set_result(reply)

    def _look(self, due: float) -> None:
        """Look, at ``due`` or as soon as this process came to it, whether anybody has waited too long."""
        self._timer = None
        if not self._waiting:
            return
        now = self._monotonic()
        deadline, oldest = self._waiting[0]
        if deadline > now:
            self._timer = self._loop.call_later(deadline - now, self._look, deadline)
        else:
            grace = min(now - due, self._timeout_seconds)
            self._timer = self._loop.call_later(grace, self._give_up, oldest)

    def _give_up(self, oldest: "asyncio.Future[Any]") -> None:
        if self._waiting and self._waiting[0][1] is oldest:
            self.close(TimedOut(f"no answer within {self._timeout_seconds} s"))
        else:
            self._look(self._monotonic())


def _error(message: str) -> ResponseError:
    """The error of redis-py's for an error reply."""
    if message.startswith("NOSCRIPT"):
        return NoScriptError(message)
    return ResponseError(message)
