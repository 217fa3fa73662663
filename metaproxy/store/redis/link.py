"""One connection to Redis that listens to channels.

redis-py's own PubSub opens a broken connection again by itself and does not say so. A subscriber has to know,
because what was published in between is lost. So this connection is opened once, and ends when it breaks.
"""

import asyncio
from collections.abc import Callable, Set
from contextlib import suppress
from typing import NamedTuple

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as ConnectionFailed
from redis.exceptions import ResponseError


class Delivery(NamedTuple):
    """A message of Redis to a connection that listens: ``subscribe`` (it is done) or ``message``."""

    kind: bytes
    channel: bytes
    payload: bytes


class Link:
    """A connection that listens. One task reads; others may subscribe and unsubscribe.

    Args:
        connection: a connection of redis-py; the link opens and closes it.
    """

    def __init__(self, connection: AbstractConnection) -> None:
        self.confirmed: set[bytes] = set()
        """The channels of which Redis has said that it sends their messages."""
        self.id: int | None = None
        """The server's number of this connection; None if the user may not know it."""
        self._connection = connection
        self._channels: Set[bytes] = frozenset()
        self._changing = asyncio.Lock()
        self._is_open = False
        self._reading: asyncio.Timeout | None = None

    async def open(self) -> None:
        """Connect and log in; raises RedisError or OSError."""
        await self._connection.connect()  # type: ignore[no-untyped-call] # redis-py is partly typed
        self._is_open = True
        await self._send(b"CLIENT", b"ID")
        with suppress(ResponseError):
            self.id = int(await self._connection.read_response())

    def close(self) -> None:
        """Have the task that reads get an error; it then ends the connection (``end``)."""
        self._is_open = False
        if self._reading is not None:
            self._reading.reschedule(asyncio.get_running_loop().time())

    async def end(self) -> None:
        """Close the connection without waiting for the server. No other task may read then."""
        self._is_open = False
        await self._connection.disconnect(nowait=True)

    async def listen_to(self, wanted: Callable[[], Set[bytes]]) -> None:
        """Subscribe to the channels that ``wanted`` returns and to no others; Redis confirms each."""
        async with self._changing:  # else a channel that is left and wanted again might be left last
            channels = wanted()
            added, left = channels - self._channels, self._channels - channels
            self._channels = channels
            self.confirmed -= left
            if added:
                await self._send(b"SUBSCRIBE", *sorted(added))
            if left:
                await self._send(b"UNSUBSCRIBE", *sorted(left))

    async def next(self) -> Delivery:
        """Return what Redis sends next; raises RedisError or OSError when the connection is gone."""
        while True:
            match await self._read():
                case [b"subscribe", bytes() as channel, _]:
                    if channel in self._channels:
                        self.confirmed.add(channel)
                    return Delivery(b"subscribe", channel, b"")
                case [b"message", bytes() as channel, bytes() as payload]:
                    return Delivery(b"message", channel, payload)

    async def _read(self) -> object:
        if not self._is_open:
            raise ConnectionFailed("the connection is closed")
        try:
            async with asyncio.timeout(None) as self._reading:
                return await self._connection.read_response(
                    disable_decoding=True, disconnect_on_error=False, push_request=True
                )
        except TimeoutError:
            if self._is_open:
                raise
            raise ConnectionFailed("the connection is closed") from None
        finally:
            self._reading = None

    async def _send(self, *command: bytes) -> None:
        if not self._is_open:  # redis-py would open it again
            raise ConnectionFailed("the connection is closed")
        await self._connection.send_command(*command)
