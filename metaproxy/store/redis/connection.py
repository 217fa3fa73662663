"""The connection to the store that replicas share.

One rule rules this file: a slow or dead store costs a request at most the timeout, once; from then on
it costs nothing until it is back (``availability``).

A timeout measures the store, not this process: where the event loop itself stood still, the answer may
lie unread in the socket. The time by which the timer came late is therefore granted once more.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from metaproxy import clock
from metaproxy.clock import Clock
from metaproxy.store.availability import Availability, Listener
from metaproxy.store.redis.pipe import HAS_HIREDIS, Part, Pipe
from metaproxy.store.unavailable import StoreUnavailable

T = TypeVar("T")

SPARE_CONNECTIONS = 4
"""Connections of the pool beside those of calls: the pipe, the listener of the broadcast, the probe."""


class SharedStore:
    """One Redis (or Valkey) that several processes share.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``, as redis-py reads it.
        timeout_seconds: how long one call may take, connecting included.
        prefix: what every key and channel of ours begins with.
        max_connections: how many calls may have a connection of their own at once; further calls wait.
        monotonic: the clock that deadlines are measured with.
        one_pipe: send the commands of all requests over one connection; otherwise each takes one of the pool,
            which is slower and needs no hiredis.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_seconds: float = 0.05,
        prefix: str = "metaproxy:",
        max_connections: int = 32,
        monotonic: Clock = clock.monotonic,
        one_pipe: bool = HAS_HIREDIS,
    ) -> None:
        self.prefix = prefix
        self.timeout_seconds = timeout_seconds
        self.client: Redis = Redis.from_url(
            url,
            socket_timeout=None,  # ours bounds the whole call
            socket_connect_timeout=timeout_seconds,
            retry=Retry(NoBackoff(), 0),
            max_connections=max_connections + SPARE_CONNECTIONS,
        )
        """The redis-py client, for what is not one bounded call (subscriptions)."""
        self._monotonic = monotonic
        self._one_pipe = one_pipe
        self._pipe: Pipe | None = None
        self._room = asyncio.Semaphore(max_connections)
        self._opening = asyncio.Lock()
        self._availability = Availability(self._answers, monotonic=monotonic)

    @property
    def available(self) -> bool:
        """False from the first failure until the store has answered a ping."""
        return self._availability.available

    def key(self, *parts: str) -> str:
        """Return the name of a key or channel of ours: the prefix, then ``parts`` joined by colons."""
        return self.prefix + ":".join(parts)

    def on_lost(self, listener: Listener) -> None:
        """Call ``listener`` each time the store has become unavailable."""
        self._availability.on_lost(listener)

    def on_restored(self, listener: Listener) -> None:
        """Call ``listener`` each time the store answers again after it was lost."""
        self._availability.on_restored(listener)

    async def start(self) -> None:
        """Ask once, so that a store that is away at start does not cost the first request."""
        try:
            await self.ask("PING")
        except StoreUnavailable:
            return

    async def close(self) -> None:
        """Stop probing and close every connection; from now on the store is away."""
        await self._availability.close()
        if self._pipe is not None:
            self._pipe.close()
        await self.client.aclose()

    async def call(self, command: Callable[[Redis], Awaitable[T]]) -> T:
        """Return what ``command`` returns, given the client; raises StoreUnavailable."""
        with self._failures():
            return await self._pooled(command)

    async def ask(self, *command: Part) -> Any:
        """Return the reply to one command, as Redis gives it; raises StoreUnavailable.

        The cheap way for what every request asks: all such commands share one connection and none has a
        task or timer of its own.
        """
        with self._failures():
            if not self._one_pipe:
                return await self._pooled(lambda client: _execute(client, command))
            pipe = self._pipe
            if pipe is None or not pipe.is_open:
                pipe = await self._opened()
            return await pipe.ask(*command)

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Translate what redis-py raises, and take note of it; raise at once while the store is away.

        NoScriptError passes through: the store is well, it has only forgotten a script.
        """
        if not self.available:
            raise StoreUnavailable("the shared store is away")
        try:
            yield
        except NoScriptError:
            raise
        except (RedisError, OSError) as error:
            self._availability.lose(error)
            raise StoreUnavailable("the shared store failed") from error

    async def _opened(self) -> Pipe:
        """The pipe, opened by whoever comes first."""
        async with self._opening:
            if not self.available:
                raise StoreUnavailable("the shared store is away")
            if self._pipe is None or not self._pipe.is_open:
                self._pipe = await self._bounded(self._open)
            return self._pipe

    async def _open(self, client: Redis) -> Pipe:
        connection = client.connection_pool.make_connection()  # type: ignore[no-untyped-call] # it is not typed
        await connection.connect()
        return Pipe(connection, timeout_seconds=self.timeout_seconds, monotonic=self._monotonic)

    async def _pooled(self, command: Callable[[Redis], Awaitable[T]]) -> T:
        """Run ``command`` as soon as a connection is free: redis-py's pool fails if it has none left."""
        async with self._room:
            if not self.available:
                raise StoreUnavailable("the shared store is away")
            return await self._bounded(command)

    async def _bounded(self, command: Callable[[Redis], Awaitable[T]]) -> T:
        call = asyncio.ensure_future(command(self.client))
        call.add_done_callback(_retrieved)
        due = self._monotonic() + self.timeout_seconds
        try:
            await asyncio.wait((call,), timeout=self.timeout_seconds)
            if not call.done():
                late = self._monotonic() - due
                await asyncio.wait((call,), timeout=min(max(late, 0.0), self.timeout_seconds))
            if call.done():
                return call.result()
        finally:
            call.cancel()
        raise TimeoutError(f"no answer within {self.timeout_seconds} s")

    async def _answers(self) -> bool:
        # What lies idle in the pool was connected to the server that is gone.
        await self.client.connection_pool.disconnect(inuse_connections=False)
        try:
            await self._bounded(lambda client: client.ping())
        except (RedisError, OSError):
            return False
        return True


async def _execute(client: Redis, command: Sequence[Part]) -> Any:
    return await client.execute_command(*command)  # type: ignore[no-untyped-call] # redis-py is partly typed


def _retrieved(call: "asyncio.Future[Any]") -> None:
    """Look at how ``call`` ended: asyncio complains about errors of tasks that nobody waits for any more."""
    if not call.cancelled():
        call.exception()
