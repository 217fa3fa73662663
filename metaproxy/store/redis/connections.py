"""The connections to the store: one pipe for what every request asks, and a pool for the rest.

A timeout measures the store, not this process: where the event loop itself stood still, the answer may
lie unread in the socket. The time by which timers came late is therefore granted once more.

A connection whose server answered with an error is never used again. It may lead to a server that was the
primary a moment ago, while the address leads to another by now. Behind Sentinel each new client asks where
the primary is, and a watch asks while it is used: a former primary that is cut off closes no connection.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import structlog
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as ConnectionFailed
from redis.exceptions import RedisError, ResponseError

from metaproxy.clock import Clock
from metaproxy.store.redis.opening import Opening, naming
from metaproxy.store.redis.pipe import Part, Pipe, open_pipe
from metaproxy.store.redis.primary import Primary, address_of
from metaproxy.store.unavailable import StoreUnavailable
from metaproxy.tasks import TaskSet

T = TypeVar("T")

Command = Callable[[Redis], Awaitable[T]]

SPARE_CONNECTIONS = 4
"""Connections of the pool beside those of calls: the pipe, the listener of the broadcast, the probes."""

CONNECT_SECONDS = 3.0
"""How long each step of connecting may take where no request waits for it, or the timeout of a call if that
is longer: to ask the sentinels, and to log in. A TLS handshake took 0.7 s on a machine under load."""

RETIRE_SECONDS = 5.0
"""The time after which no call uses a connection that was renewed: all calls are shorter."""

LOOKS = 4
"""Into how many parts a timeout is divided, to notice that this process itself stood still in one of them."""

WATCH_SECONDS = 1.0
"""How often the sentinels are asked whether the primary is still the one in use."""

logger = structlog.get_logger(__name__)


class Connections:
    """Opens, bounds and renews the connections of one store.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``, as redis-py reads it, or that of sentinels.
        timeout_seconds: how long one call may take, connecting included.
        max_connections: how many calls may have a connection of their own at once; further calls wait.
        monotonic: the clock that deadlines are measured with.
        one_pipe: whether ``ask`` sends all commands over one connection.
    """

    def __init__(
        self, url: str, *, timeout_seconds: float, max_connections: int, monotonic: Clock, one_pipe: bool
    ) -> None:
        self._connect_seconds = max(timeout_seconds, CONNECT_SECONDS)
        self._opening_of = Opening()
        self._address = address_of(url, opening=self._opening_of, seconds=self._connect_seconds)
        self._primary = Primary("")
        self._server = ""
        self._timeout_seconds = timeout_seconds
        self._most = max_connections + SPARE_CONNECTIONS
        self._monotonic = monotonic
        self._one_pipe = one_pipe
        self._client: Redis | None = None
        self._retired: list[Redis] = []
        self._tasks = TaskSet()
        self._pipe: Pipe | None = None
        self._room = asyncio.Semaphore(max_connections)
        self._opening = asyncio.Lock()
        self._finding: asyncio.Task[Exception | None] | None = None

    @property
    def epoch(self) -> int:
        """The configuration epoch of the primary in use. Each failover by Sentinel raises it."""
        return self._primary.epoch

    def start(self) -> None:
        """Begin to watch the primary, if it may move."""
        if self._address.may_move:
            self._tasks.start(self._watch(), name="store-watch")

    async def make(self) -> AbstractConnection:
        """Return a new connection to the primary that belongs to the caller; it is not open yet."""
        client = await self._current()
        connection: AbstractConnection = client.connection_pool.make_connection()  # type: ignore[no-untyped-call] # it is not typed
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
        if self._client is not None:
            self._retired.append(self._client)
            self._client = None
            self._tasks.start(self._retire(), name="store-retire")

    async def close(self) -> None:
        """Close every connection."""
        await self._tasks.cancel()
        self.renew_pool()
        await self._tasks.cancel()
        if self._pipe is not None:
            self._pipe.close()
        for client in self._retired:
            await client.aclose()
        await self._address.close()

    async def pooled(self, command: Command[T], seconds: float, may_go_on: Callable[[], bool]) -> T:
        """Run ``command`` as soon as a connection is free: redis-py's pool fails if it has none left.

        Raises StoreUnavailable if ``may_go_on`` says so then.
        """
        async with self._room:
            _hold_to(may_go_on)
            return await self._bounded(self._run(command), seconds)

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
        if self._client is not None:
            await self._client.connection_pool.disconnect(inuse_connections=False)
        if self._address.may_move:
            self.renew_pool()

    async def warm(self, seconds: float | None = None) -> None:
        """Open what the next call needs, with more time than a request has; all within ``seconds``, if given.

        Requests would otherwise time out for ever where connecting takes longer than one of them may wait.
        """
        if seconds is not None:
            await self._bounded(self.warm(), seconds)
            return
        await self.drop_idle()
        await self._current()
        with suppress(ResponseError):  # a user who may not PING is connected all the same
            await self._bounded(self._run(_ping), self._connect_seconds)
        if self._one_pipe:
            await self._opened(self._connect_seconds, lambda: True)

    async def _opened(self, seconds: float, may_go_on: Callable[[], bool]) -> Pipe:
        """The pipe, opened by whoever comes first."""
        async with self._opening:
            _hold_to(may_go_on)
            if self._pipe is None or not self._pipe.is_open:
                self._pipe = await self._bounded(self._open(), seconds)
            return self._pipe

    async def _open(self) -> Pipe:
        connection = await self.make()
        with naming(self._server):
            return await open_pipe(
                connection, timeout_seconds=self._timeout_seconds, monotonic=self._monotonic
            )

    async def _run(self, command: Command[T]) -> T:
        client = await self._current()
        with naming(self._server):
            return await command(client)

    async def _current(self) -> Redis:
        """Return the client for the primary.

        The task that finds it outlives the request that waits for it: to ask the sentinels may take longer.
        """
        while self._client is None:
            if self._finding is None or self._finding.done():
                self._finding = self._tasks.start(self._find(), name="store-find")
            await asyncio.wait((self._finding,))
            error = ConnectionFailed("closed") if self._finding.cancelled() else self._finding.result()
            if error is not None:
                raise error
        return self._client

    async def _find(self) -> Exception | None:
        try:
            self._primary = await self._address.primary()
        except (RedisError, OSError) as error:
            return error
        self._server = f"the server at {self._primary.address}"
        self._client = self._opening_of.client(
            self._primary.url,
            socket_timeout=None,  # ours bounds the whole call
            socket_connect_timeout=self._connect_seconds,
            max_connections=self._most,
        )
        return None

    async def _watch(self) -> None:
        """Leave the server in use if the sentinels name another: a newer one at once, else the second time.

        A sentinel that has not heard of a failover yet names the former primary for a moment.
        """
        former: Primary | None = None
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            try:
                named = await self._address.primary()
            except (RedisError, OSError):
                continue
            if self._client is None or named == self._primary:
                former = None
            elif named.epoch > self._primary.epoch or named == former:
                former = None
                logger.warning(
                    "shared store moved",
                    epoch=named.epoch,
                    former=self._primary.address,
                    address=named.address,
                )
                self.renew_pool()
                self.close_pipe(ConnectionFailed("another server is the primary now"))
            else:
                former = named

    async def _bounded(self, command: Awaitable[T], seconds: float) -> T:
        call = asyncio.ensure_future(command)
        call.add_done_callback(_retrieved)
        late = 0.0
        try:
            for _ in range(LOOKS):
                due = self._monotonic() + seconds / LOOKS
                await asyncio.wait((call,), timeout=seconds / LOOKS)
                if call.done():
                    return call.result()
                late += max(self._monotonic() - due, 0.0)
            await asyncio.wait((call,), timeout=min(late, seconds))
            if call.done():
                return call.result()
        finally:
            call.cancel()
        raise TimeoutError(f"no answer within {seconds:g} s")

    async def _retire(self) -> None:
        await asyncio.sleep(RETIRE_SECONDS)
        await self._retired.pop(0).aclose()


def _hold_to(may_go_on: Callable[[], bool]) -> None:
    if not may_go_on():
        raise StoreUnavailable("the shared store is away")


async def _ping(client: Redis) -> None:
    await client.ping()


async def _execute(client: Redis, command: Sequence[Part]) -> Any:
    return await client.execute_command(*command)  # type: ignore[no-untyped-call] # redis-py is partly typed


def _retrieved(call: "asyncio.Future[Any]") -> None:
    """Look at how ``call`` ended: asyncio complains about errors of tasks that nobody waits for any more."""
    if not call.cancelled():
        call.exception()
