"""The connections to the store: one pipe for what every request asks, and a pool for the rest.

A timeout measures the store, not this process: where the event loop itself stood still, the answer may
lie unread in the socket. The time by which the timer came late is therefore granted once more.

A connection whose server answered with an error is never used again. It may lead to a server that was the
primary a moment ago, while the address leads to another by now.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError

from metaproxy.clock import Clock
from metaproxy.store.redis.pipe import Part, Pipe
from metaproxy.store.unavailable import StoreUnavailable
from metaproxy.tasks import TaskSet

T = TypeVar("T")

Command = Callable[[Redis], Awaitable[T]]

SPARE_CONNECTIONS = 4
"""Connections of the pool beside those of calls: the pipe, the listener of the broadcast, the probes."""

CONNECT_SECONDS = 1.0
"""The longest time to connect and log in, where no request waits for it."""

RETIRE_SECONDS = 5.0
"""The time after which no call uses a connection that was renewed: all calls are shorter."""


class Connections:
    """Opens, bounds and renews the connections of one store.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``, as redis-py reads it.
        timeout_seconds: how long one call may take, connecting included.
        max_connections: how many calls may have a connection of their own at once; further calls wait.
        monotonic: the clock that deadlines are measured with.
        one_pipe: whether ``ask`` sends all commands over one connection.
    """

    def __init__(
        self, url: str, *, timeout_seconds: float, max_connections: int, monotonic: Clock, one_pipe: bool
    ) -> None:
        self._url = url
        self._timeout_seconds = timeout_seconds
        self._most = max_connections + SPARE_CONNECTIONS
        self._monotonic = monotonic
        self._one_pipe = one_pipe
        self._client = self._make_client()
        self._retired: list[Redis] = []
        self._retiring = TaskSet()
        self._pipe: Pipe | None = None
        self._room = asyncio.Semaphore(max_connections)
        self._opening = asyncio.Lock()

    def make(self) -> AbstractConnection:
        """Return a new connection that belongs to the caller; it is not open yet."""
        connection: AbstractConnection = self._client.connection_pool.make_connection()  # type: ignore[no-untyped-call] # it is not typed
        return connection

    @property
    def open_pipe(self) -> Pipe | None:
        """The pipe, if it is open; None also if commands have a connection each."""
        pipe = self._pipe
        return pipe if pipe is not None and pipe.is_open else None

    def close_pipe(self, error: Exception) -> None:
        """Close the pipe; whoever waits for it gets ``error``."""
        if self._pipe is not None:
            self._pipe.close(error)

    def renew_pool(self) -> None:
        """Use no connection of the pool again that is open now; calls that have one may end."""
        self._retired.append(self._client)
        self._client = self._make_client()
        self._retiring.start(self._retire(), name="store-retire")

    async def close(self) -> None:
        """Close every connection."""
        await self._retiring.cancel()
        if self._pipe is not None:
            self._pipe.close()
        for client in (*self._retired, self._client):
            await client.aclose()

    async def pooled(self, command: Command[T], seconds: float, may_go_on: Callable[[], bool]) -> T:
        """Run ``command`` as soon as a connection is free: redis-py's pool fails if it has none left.

        Raises StoreUnavailable if ``may_go_on`` says so then.
        """
        async with self._room:
            _hold_to(may_go_on)
            return await self._bounded(command(self._client), seconds)

    async def ask(self, command: Sequence[Part], may_go_on: Callable[[], bool]) -> Any:
        """Return the reply to one command; see ``pooled``."""
        if not self._one_pipe:
            return await self.pooled(
                lambda client: _execute(client, command), self._timeout_seconds, may_go_on
            )
        pipe = self.open_pipe or await self._opened(self._timeout_seconds, may_go_on)
        return await pipe.ask(*command)

    async def drop_idle(self) -> None:
        """Close the connections of the pool that no call uses: they may lead to a server that is gone."""
        await self._client.connection_pool.disconnect(inuse_connections=False)

    async def warm(self) -> None:
        """Open what the next call needs, with more time than a request has.

        Requests would otherwise time out for ever where connecting takes longer than one of them may wait.
        """
        await self.drop_idle()
        seconds = max(self._timeout_seconds, CONNECT_SECONDS)
        with suppress(ResponseError):  # a user who may not PING is connected all the same
            await self._bounded(self._client.ping(), seconds)
        if self._one_pipe:
            await self._opened(seconds, lambda: True)

    async def _opened(self, seconds: float, may_go_on: Callable[[], bool]) -> Pipe:
        """The pipe, opened by whoever comes first."""
        async with self._opening:
            _hold_to(may_go_on)
            if self._pipe is None or not self._pipe.is_open:
                self._pipe = await self._bounded(self._open(), seconds)
            return self._pipe

    async def _open(self) -> Pipe:
        connection = self.make()
        await connection.connect()  # type: ignore[no-untyped-call] # redis-py is partly typed
        return Pipe(connection, timeout_seconds=self._timeout_seconds, monotonic=self._monotonic)

    async def _bounded(self, command: Awaitable[T], seconds: float) -> T:
        call = asyncio.ensure_future(command)
        call.add_done_callback(_retrieved)
        due = self._monotonic() + seconds
        try:
            await asyncio.wait((call,), timeout=seconds)
            if not call.done():
                late = self._monotonic() - due
                await asyncio.wait((call,), timeout=min(max(late, 0.0), seconds))
            if call.done():
                return call.result()
        finally:
            call.cancel()
        raise TimeoutError(f"no answer within {seconds:g} s")

    def _make_client(self) -> Redis:
        return Redis.from_url(
            self._url,
            protocol=2,  # RESP3 costs two more round trips for each connection, and nothing here needs it
            socket_timeout=None,  # ours bounds the whole call
            socket_connect_timeout=max(self._timeout_seconds, CONNECT_SECONDS),
            retry=Retry(NoBackoff(), 0),
            max_connections=self._most,
        )

    async def _retire(self) -> None:
        await asyncio.sleep(RETIRE_SECONDS)
        await self._retired.pop(0).aclose()


def _hold_to(may_go_on: Callable[[], bool]) -> None:
    if not may_go_on():
        raise StoreUnavailable("the shared store is away")


async def _execute(client: Redis, command: Sequence[Part]) -> Any:
    return await client.execute_command(*command)  # type: ignore[no-untyped-call] # redis-py is partly typed


def _retrieved(call: "asyncio.Future[Any]") -> None:
    """Look at how ``call`` ended: asyncio complains about errors of tasks that nobody waits for any more."""
    if not call.cancelled():
        call.exception()
