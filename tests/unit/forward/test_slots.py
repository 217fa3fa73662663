"""Who holds the slots of a pool, in the moments that real sockets seldom show."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

import httpx
import pytest

from metaproxy.forward.engine.connection import Connection
from metaproxy.forward.engine.pool import Callback, Pool, PoolLimits
from metaproxy.forward.errors import ConnectionReset, QueueFull


class Fake:
    """A connection without a socket."""

    def __init__(self, freed: Callback, lost: Callback) -> None:
        self._freed, self._lost = freed, lost
        self.requests = 0
        self.opened_at = self.idle_since = 0.0
        self.is_closed = False
        self.is_dead = False

    def is_usable(self) -> bool:
        return not self.is_dead and not self.is_closed

    def abort(self) -> None:
        """Close as sockets do: the loss is told in the loop's next turn."""
        if not self.is_dead:
            self.is_dead = True
            asyncio.get_running_loop().call_soon(self.lose)

    def lose(self) -> None:
        self.is_dead = self.is_closed = True
        self._lost(cast("Connection", self))

    def free(self) -> None:
        self.requests += 1
        self._freed(cast("Connection", self))


class Opened(list[Fake]):
    """Opens connections and keeps them; ``before`` runs first."""

    before: Callable[[], Awaitable[None]] | None = None

    async def __call__(self, freed: Callback, lost: Callback) -> Connection:
        if self.before is not None:
            await self.before()
        self.append(Fake(freed, lost))
        return cast("Connection", self[-1])


def pool(opened: Opened, *, connections: int = 1, queue: int = 8, idle_seconds: float = 60.0) -> Pool:
    limits = PoolLimits(max_connections=connections, queue=queue, wait_seconds=5.0, idle_seconds=idle_seconds)
    return Pool("http://a", opened, limits=limits, monotonic=asyncio.get_running_loop().time)


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_fresh_connection_takes_the_slot_of_an_idle_one() -> None:
    opened = Opened()
    connections = pool(opened, queue=0)
    await connections.acquire()
    opened[0].free()

    await connections.acquire(fresh=True)
    await turns()

    assert len(opened) == 2
    assert (connections.busy, connections.idle) == (1, 0)


async def test_an_idle_connection_that_died_leaves_its_slot_at_once() -> None:
    opened = Opened()
    connections = pool(opened, queue=0)
    await connections.acquire()
    opened[0].free()
    opened[0].is_dead = True

    await connections.acquire()
    await turns()

    assert len(opened) == 2
    assert (connections.busy, connections.idle) == (1, 0)


async def test_one_that_waits_for_a_fresh_connection_opens_it_in_the_slot_of_the_old() -> None:
    opened = Opened()
    connections = pool(opened)
    await connections.acquire()
    waiting = asyncio.ensure_future(connections.acquire(fresh=True))
    await turns()

    opened[0].free()
    await waiting
    await turns()

    assert len(opened) == 2
    assert (connections.busy, connections.idle) == (1, 0)


async def test_a_connection_that_is_lost_on_its_way_to_a_waiter() -> None:
    opened = Opened()
    connections = pool(opened)
    await connections.acquire()
    waiting = asyncio.ensure_future(connections.acquire())
    await turns()

    opened[0].free()
    opened[0].lose()
    await waiting

    assert len(opened) == 2
    assert (connections.busy, connections.idle, connections.queued) == (1, 0, 0)


@pytest.mark.parametrize("ending", ["free", "lose"])
async def test_what_a_cancelled_waiter_was_given_at_the_last_moment_is_not_lost(ending: str) -> None:
    opened = Opened()
    connections = pool(opened)
    await connections.acquire()
    leaving, staying = (asyncio.ensure_future(connections.acquire()) for _ in range(2))
    await turns()

    getattr(opened[0], ending)()
    leaving.cancel()

    await staying
    assert leaving.cancelled()
    assert (connections.busy, connections.idle, connections.queued) == (1, 0, 0)


async def test_a_waiter_that_was_cancelled_first_is_passed_over() -> None:
    opened = Opened()
    connections = pool(opened)
    await connections.acquire()
    leaving, staying = (asyncio.ensure_future(connections.acquire()) for _ in range(2))
    await turns()

    leaving.cancel()
    opened[0].free()

    await staying
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert (connections.busy, connections.idle, connections.queued) == (1, 0, 0)


async def test_a_connection_that_ends_while_it_is_being_opened() -> None:
    opened = Opened()
    connections = pool(opened)

    async def open_and_lose(freed: Callback, lost: Callback) -> Connection:
        fake = Fake(freed, lost)
        fake.lose()
        return cast("Connection", fake)

    connections._open_connection = open_and_lose

    with pytest.raises(ConnectionReset):
        await connections.acquire()
    assert connections.busy == 0


async def test_one_that_is_cancelled_while_it_opens_a_connection_gives_its_slot_back() -> None:
    opened = Opened()
    opened.before = asyncio.Event().wait  # type: ignore[assignment]
    connections = pool(opened)
    opening = asyncio.ensure_future(connections.acquire())
    await turns()
    assert connections.busy == 1

    opening.cancel()
    await asyncio.wait([opening])

    assert connections.busy == 0


async def test_one_that_cannot_open_a_connection_lets_the_next_try() -> None:
    opened = Opened()
    connections = pool(opened)
    go_on = asyncio.Event()

    async def refuse() -> None:
        await go_on.wait()
        opened.before = None
        raise httpx.ConnectError("refused")

    opened.before = refuse
    first, second = (asyncio.ensure_future(connections.acquire()) for _ in range(2))
    await turns()

    go_on.set()

    with pytest.raises(httpx.ConnectError):
        await first
    await second
    assert connections.busy == 1


async def test_without_a_queue_nobody_waits() -> None:
    connections = pool(Opened(), queue=0)
    await connections.acquire()

    with pytest.raises(QueueFull):
        await connections.acquire()


async def test_connections_that_grow_old_are_closed_one_after_another() -> None:
    opened = Opened()
    connections = pool(opened, connections=2, idle_seconds=0.01)
    await connections.acquire()
    await connections.acquire()
    opened[0].free()
    await asyncio.sleep(0.005)
    opened[1].free()

    while connections.idle:
        await asyncio.sleep(0.001)

    assert opened[0].is_dead
    assert opened[1].is_dead
    assert connections.busy == 0


@pytest.mark.parametrize("waits", [True, False])
async def test_a_connection_that_is_old_carries_no_further_request(*, waits: bool) -> None:
    now = 0.0
    opened = Opened()
    limits = PoolLimits(max_connections=1, age_seconds=10.0)
    connections = Pool("http://a", opened, limits=limits, monotonic=lambda: now)
    await connections.acquire()
    now = 10.0
    opened[0].free()
    await connections.acquire()
    now = 10.5
    waiting = asyncio.ensure_future(connections.acquire()) if waits else None
    await turns()

    opened[0].free()
    await turns()

    if waiting is not None:
        await waiting
    assert opened[0].is_dead
    assert len(opened) == 1 + waits
    assert (connections.busy, connections.idle) == (int(waits), 0)
