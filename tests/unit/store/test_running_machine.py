"""Processes that share a concurrency limit, and a store that fails and forgets, against an exact count."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from metaproxy.exchange import Exchange
from metaproxy.filters.concurrency import ConcurrencyLimit
from metaproxy.store.running import BEAT_SECONDS, LEASE_SECONDS, Batch, SharedRunning, Slot
from metaproxy.store.unavailable import StoreUnavailable
from metaproxy.verdicts import PASS, Wait
from tests.unit.store.memory_slots import MemorySlots

CONSUMER = "project:p"
MAXIMUM = 3
PROCESSES = 4
LONG_BEFORE = float("-inf")


class Time:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


class Store(MemorySlots):
    """Slots that a test takes away."""

    def __init__(self, time: Time) -> None:
        super().__init__(lease_seconds=LEASE_SECONDS, monotonic=time)
        self.available = True

    async def enter(self, consumer: str, slot: Slot, maximum: int) -> bool:
        """Make the slot, or fail."""
        self._fail()
        return await super().enter(consumer, slot, maximum)

    async def renew(self, batch: Batch) -> None:
        """Renew the slots, or fail."""
        self._fail()
        await super().renew(batch)

    def _fail(self) -> None:
        if not self.available:
            raise StoreUnavailable("away")


class Process:
    """One process: its limit, and its requests that run."""

    def __init__(self, store: Store) -> None:
        self.shared = SharedRunning(store)
        self.limit = ConcurrencyLimit(max=MAXIMUM, shared=self.shared)
        self.running: list[Exchange] = []


class Processes(RuleBasedStateMachine):
    """Requests begin and end; processes beat, stand still and die; the store fails and forgets."""

    requests = Bundle("requests")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.time = Time()
        self.store = Store(self.time)
        self.processes = [Process(self.store) for _ in range(PROCESSES)]
        self.kept: dict[Exchange, float] = {}
        """When the store last heard of the slot of each request that runs."""
        self.left: list[float] = []
        """When the store last heard of slots whose end it has not heard of."""

    def do(self, what: Coroutine[Any, Any, Any]) -> Any:
        """Run ``what``, and whatever it has begun in the background."""

        async def and_more() -> Any:
            result = await what
            for _ in range(5):
                await asyncio.sleep(0)
            return result

        return self.runner.run(and_more())

    def counting(self) -> int:
        """Return how many requests run that the store knows of."""
        return sum(self.time.now < at + LEASE_SECONDS for at in self.kept.values())

    def lingering(self) -> int:
        """Return how many slots count whose request runs no longer."""
        return sum(self.time.now < at + LEASE_SECONDS for at in self.left)

    @rule(target=requests, number=st.integers(0, PROCESSES - 1))
    def begin(self, number: int) -> tuple[Process, Exchange]:
        """A request comes."""
        process, exchange = self.processes[number], Exchange("req-1", 0.0)
        before, counting, lingering = len(process.running), self.counting(), self.lingering()

        async def decide() -> Any:
            verdict = process.limit.begin(exchange, CONSUMER)
            return await verdict if isinstance(verdict, Wait) else verdict

        if self.do(decide()) is PASS:
            assert before < MAXIMUM
            if self.store.available:
                assert counting + lingering < MAXIMUM
            process.running.append(exchange)
            self.kept[exchange] = self.time.now if self.store.available else LONG_BEFORE
        else:
            assert before == MAXIMUM or (self.store.available and counting + lingering >= MAXIMUM)
            exchange.end()
        return process, exchange

    @rule(request=consumes(requests))
    def end(self, request: tuple[Process, Exchange]) -> None:
        """A request ends, unless it was refused or has died with its process."""
        process, exchange = request
        if exchange not in process.running or process not in self.processes:
            return
        process.running.remove(exchange)
        heard = self.kept.pop(exchange)

        async def end() -> None:
            exchange.end()

        self.do(end())
        if not self.store.available:
            self.left.append(heard)

    @rule(number=st.integers(0, PROCESSES - 1))
    def die(self, number: int) -> None:
        """A process dies, and another one takes its place."""
        self.left += [self.kept.pop(exchange) for exchange in self.processes[number].running]
        self.processes[number] = Process(self.store)

    @rule(still=st.sets(st.integers(0, PROCESSES - 1), max_size=1))
    def beat(self, still: set[int]) -> None:
        """The time between two beats passes, and all processes beat but those that stand still."""
        self.time.now += BEAT_SECONDS
        for number, process in enumerate(self.processes):
            if number not in still:
                self.do(process.shared.beat())
                if self.store.available:
                    self.kept |= dict.fromkeys(process.running, self.time.now)

    @rule(seconds=st.floats(0.1, BEAT_SECONDS))
    def pass_time(self, seconds: float) -> None:
        """Some time passes."""
        self.time.now += seconds

    @rule(is_available=st.booleans())
    def fail(self, is_available: bool) -> None:
        """The store fails, or is back with all that it had."""
        self.store.available = is_available

    @rule()
    def forget(self) -> None:
        """The store begins anew."""
        self.store.forget()
        self.kept = dict.fromkeys(self.kept, LONG_BEFORE)
        self.left.clear()

    @invariant()
    def every_slot_is_that_of_a_request_or_ends_with_its_lease(self) -> None:
        """Slots are neither lost nor left."""
        assert self.store.of(CONSUMER) == self.counting() + self.lingering()
        for process in self.processes:
            assert len(process.shared) == len(process.limit) == len(process.running) <= MAXIMUM

    def teardown(self) -> None:
        """End the loop."""
        self.runner.close()


TestProcesses = Processes.TestCase
TestProcesses.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
