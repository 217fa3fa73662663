"""The number of requests that run at once, over two replicas that share a store."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from metaproxy.exchange import ClientDisconnected
from metaproxy.filters.concurrency import ConcurrencyLimit
from metaproxy.protocol.limits.settings import Limits, OnStoreFailure
from metaproxy.store.running import Batch, SharedRunning, Slot
from metaproxy.store.unavailable import StoreUnavailable
from metaproxy.telemetry.metrics import Metrics
from tests.asgi_driver import Answer, drive
from tests.filters.limiting import Identified
from tests.filters.test_concurrency import ALICE, CAROL, Slow
from tests.unit.store.memory_slots import MemorySlots
from tests.unit.store.waiting import until

LEASE_SECONDS = 0.3
PROJECT = "project:p1"


class Store(MemorySlots):
    """Slots that a test takes away, makes slow, or empties."""

    def __init__(self) -> None:
        super().__init__(lease_seconds=LEASE_SECONDS)
        self.available = True
        self.fails = False
        self.answers = asyncio.Event()
        self.answers.set()
        self.asked = 0

    async def enter(self, consumer: str, slot: Slot, maximum: int) -> bool:
        """Make the slot, then fail or be late."""
        self.asked += 1
        entered = await super().enter(consumer, slot, maximum)
        await self.answers.wait()
        self._fail()
        return entered

    async def renew(self, batch: Batch) -> None:
        """Renew, or fail."""
        self._fail()
        await super().renew(batch)

    def _fail(self) -> None:
        if self.fails or not self.available:
            self.available = False
            raise StoreUnavailable("away")


class Replica:
    """A concurrency limit of two in front of a slow upstream."""

    def __init__(self, store: Store, **options: Any) -> None:
        self.store, self.metrics = store, Metrics()
        self.upstream = Slow()
        self.shared = SharedRunning(store, lease_seconds=LEASE_SECONDS)
        self.limit = ConcurrencyLimit(
            self.upstream, max=2, shared=self.shared, metrics=self.metrics, **options
        )

    async def begin(self, who: list[tuple[str, str]] = ALICE) -> "asyncio.Task[Answer]":
        """Send a request; it is refused or at the upstream when this returns."""
        task = asyncio.ensure_future(drive(Identified(self.limit), "GET", "/i", who))
        for _ in range(5):
            await asyncio.sleep(0)
        return task

    async def end(self, *tasks: "asyncio.Task[Answer]") -> list[int]:
        """Let the upstream answer, and return the statuses."""
        self.upstream.go.set()
        return [answer.status for answer in await asyncio.gather(*tasks)]

    def count(self, name: str) -> float:
        """Return what a metric without labels says."""
        (family,) = [family for family in self.metrics.collect() if family.name == name]
        return float(family.samples[0].value)


async def test_one_too_many_over_all_replicas_is_refused() -> None:
    store = Store()
    here, there = Replica(store), Replica(store)
    running = [await here.begin(), await there.begin()]

    refused = await (await here.begin())
    others = [await there.begin(CAROL), await there.begin(CAROL)]

    assert (refused.status, refused.header("retry-after")) == (413, "1")
    assert refused.exchange.reason == "concurrency_exceeded"
    assert await here.end(running[0]) == [200]
    assert await there.end(running[1], *others) == [200] * 3
    assert await here.end(await here.begin(), await there.begin()) == [200] * 2


async def test_a_consumer_that_has_enough_running_here_is_refused_without_asking() -> None:
    store = Store()
    here = Replica(store)
    running = [await here.begin() for _ in range(2)]
    refused = [await (await here.begin()) for _ in range(10)]
    assert {answer.status for answer in refused} == {413}
    assert store.asked == 2
    await here.end(*running)


async def answered(replica: Replica) -> None:
    await replica.end(await replica.begin())


async def fails(replica: Replica) -> None:
    replica.upstream.error = OSError("broken")
    await replica.end(await replica.begin())


async def is_cancelled(replica: Replica) -> None:
    task = await replica.begin()
    task.cancel()
    await asyncio.wait([task])


async def is_cancelled_while_the_store_is_asked(replica: Replica) -> None:
    replica.store.answers.clear()
    await is_cancelled(replica)
    replica.store.answers.set()


async def loses_its_client(replica: Replica) -> None:
    replica.upstream.error = ClientDisconnected()
    await replica.end(await replica.begin())


async def is_refused(replica: Replica) -> None:
    running = [await replica.begin() for _ in range(3)]
    await replica.end(*running)


@pytest.mark.parametrize(
    "end",
    [answered, fails, is_cancelled, is_cancelled_while_the_store_is_asked, loses_its_client, is_refused],
)
async def test_however_a_request_ends_its_slot_ends(end: Callable[[Replica], Awaitable[None]]) -> None:
    store = Store()
    replica = Replica(store)
    await end(replica)
    await until(lambda: store.of(PROJECT) == 0 and len(replica.shared) == len(replica.limit) == 0, 20)


@pytest.mark.parametrize("is_noticed", [False, True])
@pytest.mark.parametrize(
    ("on_store_failure", "status", "running"), [("local", 413, 2), ("allow", 200, 3), ("deny", 503, 0)]
)
async def test_while_the_store_fails_the_operators_choice_holds(
    on_store_failure: OnStoreFailure, status: int, running: int, is_noticed: bool
) -> None:
    store = Store()
    replica = Replica(store, limits=Limits(on_store_failure=on_store_failure))
    store.fails, store.available = True, not is_noticed
    tasks = [await replica.begin() for _ in range(2)]
    last = await replica.begin()

    assert len(replica.limit) == running
    assert (await replica.end(*tasks, last))[2] == status
    assert len(replica.limit) == len(replica.shared) == 0


@pytest.mark.parametrize("on_store_failure", ["local", "allow"])
async def test_what_was_let_in_without_the_store_has_a_slot_when_it_is_back(
    on_store_failure: OnStoreFailure,
) -> None:
    store = Store()
    here, there = Replica(store, limits=Limits(on_store_failure=on_store_failure)), Replica(store)
    await here.shared.start()
    store.available = False
    running = [await here.begin(), await here.begin()]
    assert here.count("metaproxy_limit_running_without_store") == 2

    store.available = True
    await until(lambda: store.of(PROJECT) == 2, 20)

    assert (await (await there.begin())).status == 413
    await here.end(*running)
    await here.shared.close()
    assert store.of(PROJECT) == 0


async def test_a_store_that_has_lost_its_slots_gets_them_again_and_no_replica_admits_more_meanwhile() -> None:
    store = Store()
    here, there = Replica(store), Replica(store)
    running = [await here.begin() for _ in range(2)]

    store.forget()

    assert (await (await here.begin())).status == 413
    await here.shared.start()
    await until(lambda: store.of(PROJECT) == 2, 20)
    assert (await (await there.begin())).status == 413
    await here.end(*running)
    await here.shared.close()


async def test_what_a_process_holds_and_what_it_decided_alone_is_shown() -> None:
    store = Store()
    replica = Replica(store)
    running = [await replica.begin(), await replica.begin()]
    assert replica.count("metaproxy_limit_running") == replica.count("metaproxy_limit_slots") == 2
    assert replica.count("metaproxy_limit_running_without_store") == 0
    await replica.end(*running)
    assert replica.count("metaproxy_limit_running") == replica.count("metaproxy_limit_slots") == 0


async def test_how_long_the_store_was_waited_for_is_told() -> None:
    replica = Replica(Store())
    task = await replica.begin()
    await replica.end(task)
    assert set(task.result().exchange.waits) == {"store"}
