"""One connection to Redis with any number of commands under way.

A pool gives every command a connection, a task and a timer of its own, which costs several times what
the command itself does. Redis answers in the order in which it was asked (RESP, "Request-Response
model"), so one connection and a queue of those who wait are enough. redis-py reads the URL (address, TLS,
login), and the pipe opens a connection of its own: redis-py has no public way to hand one over. Redis-py can
be installed without hiredis, which reads the replies: ``HAS_HIREDIS`` says whether a pipe can be made.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.exceptions import AuthenticationError, NoScriptError, ResponseError
from redis.exceptions import ConnectionError as ConnectionFailed
from redis.exceptions import TimeoutError as TimedOut

from metaproxy.clock import Clock

try:
    import hiredis

    HAS_HIREDIS = hasattr(hiredis, "PushNotification")  # since 3.0, which reads RESP3
except ImportError:
    HAS_HIREDIS = False

Part = str | bytes | int

Receive = Callable[[Any], None]
"""Called with the reply to a command, or with an error of redis-py's."""

LOGIN_SECONDS = 1.0
"""The longest time for a reply while the pipe is opened. The whole opening has a shorter limit."""

GATHER_SECONDS = 0.001
"""To write, to wake the server and to read its reply costs more than all else that a command takes. So it is
worth to wait for others, for less than a network takes."""


class Pipe(asyncio.Protocol):
    """Sends commands and hands out their replies in order.

    The commands of one turn of the event loop are written together, and so are those that come while others
    have no reply.

    A command that has no reply after ``timeout_seconds`` breaks the connection, and so fails all others:
    what comes behind it in the queue can only come later. As in ``connection``, the time by which this
    process itself was late is granted once more.

    Args:
        timeout_seconds: how long a reply may take.
        monotonic: the clock that this is measured with.
        gather_seconds: the longest time for which commands wait for the replies to those before them.
    """

    def __init__(
        self, *, timeout_seconds: float, monotonic: Clock, gather_seconds: float = GATHER_SECONDS
    ) -> None:
        self.timeout_seconds = timeout_seconds
        """How long a reply may take, from the next command on."""
        self._gather_seconds = gather_seconds
        self._monotonic = monotonic
        self._reader = hiredis.Reader()
        self._waiting: deque[tuple[float, Receive]] = deque()
        self._unsent: list[bytes] = []
        self._gathering: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.WriteTransport | None = None

    @property
    def is_open(self) -> bool:
        """True from the connection on until it breaks or is closed."""
        return self._transport is not None

    def ask(self, *command: Part) -> "asyncio.Future[Any]":
        """Send ``command``; the future has its reply, or an error of redis-py's."""
        answered: asyncio.Future[Any] = self._loop.create_future()
        self.send(packed(*command), partial(_answer, answered))
        return answered

    def send(self, question: bytes, receive: Receive) -> None:
        """Send a command that is packed; ``receive`` is called in a later turn of the event loop."""
        if self._transport is None:
            raise ConnectionFailed("the connection is closed")
        if not self._unsent:
            if self._waiting:
                self._gathering = self._loop.call_later(self._gather_seconds, self._flush)
            else:
                self._loop.call_soon(self._flush)
        self._unsent.append(question)
        deadline = self._monotonic() + self.timeout_seconds
        self._waiting.append((deadline, receive))
        if self._timer is None:
            self._timer = self._loop.call_later(self.timeout_seconds, self._look, deadline)

    def close(self, error: Exception | None = None) -> None:
        """Break the connection off; whoever waits gets ``error``."""
        if self._transport is None:
            return
        transport, self._transport = self._transport, None
        if self._timer is not None:
            self._timer.cancel()
        transport.abort()
        self._stop_gathering()
        self._unsent.clear()
        failed, self._waiting = self._waiting, deque()
        for _, receive in failed:
            self._loop.call_soon(receive, error or ConnectionFailed("the connection was closed"))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be open from now on (asyncio.Protocol)."""
        self._transport = transport  # type: ignore[assignment] # one that also writes

    def data_received(self, data: bytes) -> None:
        """Hand out the replies that have come (asyncio.Protocol)."""
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not False:
                self._hand_out(reply)
            if self._unsent and len(self._unsent) == len(self._waiting):
                self._flush()
        except hiredis.ProtocolError as error:
            self.close(ConnectionFailed(str(error)))

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail whoever waits (asyncio.Protocol)."""
        self.close(ConnectionFailed("the server closed the connection"))

    def _hand_out(self, reply: Any) -> None:
        if isinstance(reply, hiredis.PushNotification):
            return  # nobody asked
        _, receive = self._waiting.popleft()
        if isinstance(reply, hiredis.ReplyError):
            # Later, because an error closes the connection, and there may be replies to other commands.
            self._loop.call_soon(receive, _error(str(reply)))
            return
        try:
            receive(reply)
        except Exception as error:  # noqa: BLE001 - the others must have their replies
            self._loop.call_exception_handler({"message": "a reply was not received", "exception": error})

    def _flush(self) -> None:
        self._stop_gathering()
        if self._unsent and self._transport is not None:
            self._transport.write(b"".join(self._unsent))
            self._unsent.clear()

    def _stop_gathering(self) -> None:
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathering = None

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
            grace = min(now - due, self.timeout_seconds)
            self._timer = self._loop.call_later(grace, self._give_up, oldest)

    def _give_up(self, oldest: Receive) -> None:
        if self._waiting and self._waiting[0][1] is oldest:
            self.close(TimedOut(f"no answer within {self.timeout_seconds:g} s"))
        else:
            self._look(self._monotonic())


def _answer(answered: "asyncio.Future[Any]", reply: Any) -> None:
    if answered.done():
        return  # given up
    if isinstance(reply, Exception):
        answered.set_exception(reply)
    else:
        answered.set_result(reply)


def packed(*command: Part) -> bytes:
    """Return ``command`` as it is sent; b"" without hiredis, because nothing is sent over a pipe then."""
    return hiredis.pack_command(command) if HAS_HIREDIS else b""  # type: ignore[arg-type] # its stub knows one part


async def open_pipe(connection: AbstractConnection, *, timeout_seconds: float, monotonic: Clock) -> Pipe:
    """Return a pipe to where ``connection``, which stays unopened, leads; raises RedisError or OSError."""
    loop = asyncio.get_running_loop()

    def make() -> Pipe:
        return Pipe(timeout_seconds=max(timeout_seconds, LOGIN_SECONDS), monotonic=monotonic)

    match connection:
        case UnixDomainSocketConnection():
            transport, pipe = await loop.create_unix_connection(make, connection.path)
        case Connection():
            tls = connection.ssl_context.get() if isinstance(connection, SSLConnection) else None
            transport, pipe = await loop.create_connection(make, connection.host, connection.port, ssl=tls)
            _keep_alive(transport, connection)
        case _:
            raise TypeError("a connection of another kind")
    try:
        await _log_in(pipe, connection)
    except BaseException:
        pipe.close()
        raise
    pipe.timeout_seconds = timeout_seconds
    return pipe


def _keep_alive(transport: asyncio.BaseTransport, connection: Connection) -> None:
    """Have the system notice a peer that is gone, as redis-py does for its own connections."""
    sock = transport.get_extra_info("socket")
    if sock is not None and connection.socket_keepalive:
        with suppress(OSError, TypeError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            options: Mapping[int, int | bytes] = connection.socket_keepalive_options  # type: ignore[assignment] # a mapping
            for option, value in options.items():
                sock.setsockopt(socket.IPPROTO_TCP, option, value)


async def _log_in(pipe: Pipe, connection: AbstractConnection) -> None:
    if connection.username or connection.password:
        login = [part for part in (connection.username, connection.password or "") if part is not None]
        try:
            await pipe.ask("AUTH", *login)
        except ResponseError as error:
            raise AuthenticationError(str(error)) from error
    if connection.client_name:
        await pipe.ask("CLIENT", "SETNAME", connection.client_name)
    if connection.db:
        await pipe.ask("SELECT", connection.db)


def _error(message: str) -> ResponseError:
    """The error of redis-py's for an error reply."""
    if message.startswith("NOSCRIPT"):
        return NoScriptError(message)
    return ResponseError(message)
