"""The connections to one upstream: a bounded number, and a bounded queue of those who wait for one.

The connection used last is used next: the others grow old and are closed, so that a quiet hour leaves
few. The longest waiter is served first.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import httpx

from metaproxy.clock import Clock
from metaproxy.forward.engine.connection import Connection
from metaproxy.forward.errors import ConnectionReset, QueueFull

Callback = Callable[[Connection], None]
OpenConnection = Callable[[Callback, Callback], Awaitable[Connection]]
"""Opens a connection, given what to call when it becomes free and when it is lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLimits:
    """Bounds of a pool.

    ``max_connections`` are open at most; ``queue`` requests wait for one at most, each for
    ``wait_seconds``. A connection idle for ``idle_seconds`` is closed: less than the upstream's own
    keep-alive time, so that it is seldom the upstream who closes first. One that was opened ``age_seconds``
    ago carries no further request: a name that has moved is looked up again, however busy it is.
    """

    max_connections: int = 256
    queue: int = 1024
    wait_seconds: float = 5.0
    idle_seconds: float = 4.0
    age_seconds: float = 300.0


class Pool:
    """Connections to one upstream.

    Args:
        name: the upstream, for whoever looks at the pool.
        open_connection: opens one.
        limits: the pool's bounds.
        monotonic: tells how long a connection has been idle.
    """

    def __init__(
        self,
        name: str,
        open_connection: OpenConnection,
        *,
        limits: PoolLimits,
        monotonic: Clock,
    ) -> None:
        self.name = name
        self._open_connection = open_connection
        self._limits = limits
        self._monotonic = monotonic
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()
        self._retired: set[Connection] = set()
        self._retirements = 0
        # A waiter gets a connection, or None: the right to open one.
        self._waiters: deque[asyncio.Future[Connection | None]] = deque()
        self._slots_taken = 0
        self._reaper: asyncio.TimerHandle | None = None

    @property
    def idle(self) -> int:
        """Number of connections that wait for a request."""
        return len(self._idle)

    @property
    def busy(self) -> int:
        """Number of connections that are opened right now or carry a request."""
        return self._slots_taken - len(self._idle)

    @property
    def queued(self) -> int:
        """Number of requests that wait for a connection."""
        return len(self._waiters)

    def take_idle(self) -> Connection | None:
        """Return an idle connection that may carry a request, if there is one."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_usable():
                return connection
            self._close(connection)
            self._free_slot()
        return None

    def retire(self) -> None:
        """Close every connection, those that carry a request when its answer has ended."""
        self._retirements += 1
        while self._idle:
            self._close(self._idle.pop())
            self._free_slot()
        self._retired |= self._open

    async def acquire(self, *, fresh: bool = False) -> Connection:
        """Return a connection, a newly opened one if it must be ``fresh``.

        Raises QueueFull, httpx.PoolTimeout, or why none could be opened.
        """
        if not fresh and (idle := self.take_idle()) is not None:
            return idle
        while not self._take_slot():
            given = await self._wait()
            if given is None:
                break
            if given.is_usable() and not (fresh and given.requests):
                return given
            if given in self._open:
                self._close(given)
                break
            # It was lost on the way here, and its slot is another's by now: back into the queue.
        return await self._open_one()

    async def aclose(self) -> None:
        """Close every connection; requests that use or await one fail."""
        if self._reaper is not None:
            self._reaper.cancel()
            self._reaper = None
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(httpx.ConnectError("the pool is closed"))
        self._waiters.clear()
        self._idle.clear()
        self._retired.clear()
        for connection in list(self._open):
            connection.abort()

    async def _open_one(self) -> Connection:
        """Open a connection in the slot that the caller holds."""
        retirements = self._retirements
        try:
            connection = await self._open_connection(self.freed, self._lost)
        except BaseException:
            self._free_slot()
            raise
        if connection.is_closed:
            self._free_slot()
            raise ConnectionReset("the connection ended as soon as it was there")
        self._open.add(connection)
        connection.opened_at = self._monotonic()
        if retirements != self._retirements:
            self._retired.add(connection)
        return connection

    async def _wait(self) -> Connection | None:
        if len(self._waiters) >= self._limits.queue:
            raise QueueFull("every connection is busy and the queue is full")
        waiter: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(self._limits.wait_seconds):
                return await waiter
        except TimeoutError as error:
            self._leave(waiter)
            raise httpx.PoolTimeout("no connection became free in time") from error
        except asyncio.CancelledError:
            self._leave(waiter)
            raise

    def _leave(self, waiter: "asyncio.Future[Connection | None]") -> None:
        """Leave the queue; what was given at the last moment goes to the next."""
        if waiter in self._waiters:
            self._waiters.remove(waiter)
        elif waiter.cancelled() or waiter.exception() is not None:
            return
        elif (given := waiter.result()) is None:
            self._free_slot()
        else:
            self.freed(given)

    def _next_waiter(self) -> "asyncio.Future[Connection | None] | None":
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                return waiter
        return None

    def freed(self, connection: Connection) -> None:
        """Take a connection back, because its response is complete."""
        now = self._monotonic()
        if connection in self._retired or now - connection.opened_at > self._limits.age_seconds:
            self._close(connection)
            self._free_slot()
            return
        waiter = self._next_waiter() if self._waiters else None
        if waiter is not None:
            waiter.set_result(connection)
            return
        connection.idle_since = now
        self._idle.append(connection)
        if self._reaper is None:
            self._reap_in(self._limits.idle_seconds)

    def give_back(self, connection: Connection) -> None:
        """Take a connection back that has sent nothing: for the upstream it was idle all along."""
        idle_since = connection.idle_since
        self.freed(connection)
        connection.idle_since = idle_since

    def _lost(self, connection: Connection) -> None:
        if connection not in self._open:
            # Closed by us, or never handed out: its slot is another's already.
            return
        self._open.remove(connection)
        self._retired.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._free_slot()

    def _close(self, connection: Connection) -> None:
        """Close a connection; its slot stays with the caller."""
        self._open.remove(connection)
        self._retired.discard(connection)
        connection.abort()

    def _take_slot(self) -> bool:
        """Take a slot that is free, or that of the connection idle for longest; False where all are busy."""
        if self._slots_taken < self._limits.max_connections:
            self._slots_taken += 1
            return True
        if self._idle:
            self._close(self._idle.pop(0))
            return True
        return False

    def _free_slot(self) -> None:
        waiter = self._next_waiter()
        if waiter is not None:
            waiter.set_result(None)
        else:
            self._slots_taken -= 1

    def _reap_in(self, seconds: float) -> None:
        self._reaper = asyncio.get_running_loop().call_later(seconds, self._reap)

    def _reap(self) -> None:
        """Close connections that have been idle for too long: they stand in front."""
        self._reaper = None
        oldest_allowed = self._monotonic() - self._limits.idle_seconds
        while self._idle and self._idle[0].idle_since <= oldest_allowed:
            self._close(self._idle.pop(0))
            self._free_slot()
        if self._idle:
            self._reap_in(max(self._idle[0].idle_since - oldest_allowed, 0.001))
