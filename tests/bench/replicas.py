"""What a hundred replicas ask of one store, simulated: ``python -m tests.bench.replicas``.

Runs the leases of many replicas (``metaproxy.store.leases``) in one process, on a clock that jumps from one
event to the next, against a ledger that is a round trip away. Requests come at random times from consumers of
whom few send most (Zipf), and each goes to any of the replicas that its consumer is balanced to. Beside them
runs an exact counter, which sees each request at once and decides what it would have admitted.

Prints, for each number of replicas that one consumer's requests reach: the calls to the store per second,
without leases and with them; what was refused although the exact counter admits it; and how many requests
were admitted that do not fit the rule, which must be none.
"""

import argparse
import asyncio
import random
import selectors
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from metaproxy.protocol.limits.policy import MICROSECONDS, UNTOUCHED, Policy, State
from metaproxy.protocol.limits.rates import RateRule
from metaproxy.protocol.limits.table import CompiledRule
from metaproxy.settings.units import Rate
from metaproxy.store.counters import Charge, Exchanged, Return, SendingMeter, Taken, Wish
from metaproxy.store.leases import Leases
from metaproxy.store.ledger import Ledger

TICK_SECONDS = 0.001
"""Requests of one millisecond are sent at once."""


class JumpingSelector(selectors.SelectSelector):
    """Waits for nothing: time is what the event loop would have waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Let ``timeout`` seconds pass."""
        self.seconds += timeout or 0.0
        return []


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer."""

    def __init__(self) -> None:
        self._jumping = JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """The simulated time, in seconds."""
        return self._jumping.seconds


@dataclass
class DistantLedger:
    """A ledger that is ``round_trip`` seconds away, and counts how often it was asked."""

    ledger: Ledger
    round_trip: float
    charged: int = 0
    exchanged: int = 0
    counters_exchanged: int = 0

    available = True

    async def take(self, charges: Sequence[Charge], wishes: Sequence[int] = ()) -> Taken:
        """Do what ``SharedCounters.take`` does."""
        self.charged += 1
        await asyncio.sleep(self.round_trip / 2)
        taken = self.ledger.take([charge.counter for charge in charges], wishes=wishes)
        await asyncio.sleep(self.round_trip / 2)
        return taken

    async def exchange(self, returns: Sequence[Return], wishes: Sequence[Wish]) -> Exchanged:
        """Do what ``SharedCounters.exchange`` does."""
        self.exchanged += 1
        self.counters_exchanged += len(
            {asked.counter.key for asked in returns} | {wish.counter.key for wish in wishes}
        )
        await asyncio.sleep(self.round_trip / 2)
        answer = self.ledger.exchange(returns, wishes)
        await asyncio.sleep(self.round_trip / 2)
        return answer

    async def give_back(self, charges: Sequence[Charge]) -> None:
        """Not asked in this simulation."""
        raise NotImplementedError

    async def peek(self, charges: Sequence[Charge]) -> Taken:
        """Not asked in this simulation."""
        raise NotImplementedError

    async def reset(self, consumer: str) -> int:
        """Not asked in this simulation."""
        raise NotImplementedError

    def meter(self, charge: Charge) -> SendingMeter:
        """Return a counter that takes a task. Not asked in this simulation."""
        return SendingMeter()


@dataclass
class Bucket:
    """An exact counter of each consumer."""

    policy: Policy
    states: dict[int, State] = field(default_factory=dict)

    def admits(self, consumer: int, seconds: float) -> bool:
        """Charge one request, if it fits."""
        now = round(seconds * MICROSECONDS)
        admitted, state = self.policy.admit(self.states.get(consumer, UNTOUCHED), now)
        if admitted:
            self.states[consumer] = state
        return admitted


@dataclass
class Traffic:
    """Requests of ``consumers``, the n-th of whom sends in proportion to n to the power of ``-exponent``."""

    consumers: int
    exponent: float
    requests_per_second: int
    seconds: float
    seed: int = 1

    def of_ticks(self) -> "list[list[int]]":
        """Return who sends in each tick."""
        chance = random.Random(self.seed)
        ticks: list[list[int]] = [[] for _ in range(round(self.seconds / TICK_SECONDS))]
        weights = list(accumulate((n + 1) ** -self.exponent for n in range(self.consumers)))
        number = round(self.requests_per_second * self.seconds)
        for consumer in chance.choices(range(self.consumers), cum_weights=weights, k=number):
            ticks[chance.randrange(len(ticks))].append(consumer)
        return ticks


class Simulation:
    """One run: ``traffic`` through ``replicas``, where each consumer's requests reach ``spread`` of them."""

    def __init__(
        self, traffic: Traffic, rule: RateRule, *, replicas: int, spread: int, round_trip: float
    ) -> None:
        self._traffic = traffic
        self._rule = CompiledRule(rule, "gcra")
        self._replicas = replicas
        self._spread = spread
        self._round_trip = round_trip
        self._exact = Bucket(self._rule.policy)
        self._real = Bucket(self._rule.policy)
        self.requests = self.admitted = self.admitted_exactly = self.too_many = 0
        self.store: DistantLedger

    async def run(self) -> None:
        """Send the traffic."""
        time = asyncio.get_running_loop().time
        chance = random.Random(self._traffic.seed)
        self.store = DistantLedger(
            Ledger(max_counters=self._traffic.consumers, monotonic=time), self._round_trip
        )
        leases = [Leases(self.store, monotonic=time) for _ in range(self._replicas)]
        waiting: set[asyncio.Task[None]] = set()
        for tick in self._traffic.of_ticks():
            now = time()
            for consumer in tick:
                self.requests += 1
                self.admitted_exactly += self._exact.admits(consumer, now)
                position = (consumer * 7919 + chance.randrange(self._spread)) % self._replicas
                charges = (Charge(f"r/project:{consumer}", f"project:{consumer}", self._rule),)
                taken = leases[position].take_now(charges, now)
                if taken is not None:
                    self._note(consumer, now, taken)
                    continue
                task = asyncio.create_task(self._ask(leases[position], charges, consumer))
                waiting.add(task)
                task.add_done_callback(waiting.discard)
            await asyncio.sleep(TICK_SECONDS)
        await asyncio.gather(*waiting)
        for lease in leases:
            await lease.close()

    async def _ask(self, leases: Leases, charges: Sequence[Charge], consumer: int) -> None:
        taken = await leases.take(charges)
        self._note(consumer, asyncio.get_running_loop().time(), taken)

    def _note(self, consumer: int, now: float, taken: Taken) -> None:
        if taken.admitted:
            self.admitted += 1
            # A bucket that is filled with what was really admitted never runs over.
            self.too_many += not self._real.admits(consumer, now)


def simulate(options: Mapping[str, Any]) -> None:
    """Print the table."""
    traffic = Traffic(
        options["consumers"], options["exponent"], options["requests_per_second"], options["seconds"]
    )
    rule = RateRule(name="r", rate=Rate(options["limit"], "minute"))
    print(
        f"{options['replicas']} replicas, {traffic.consumers:,} consumers, Zipf {traffic.exponent}, "
        f"{traffic.requests_per_second:,} requests/s for {traffic.seconds:g} s, {rule.limit} a minute each, "
        f"round trip {options['round_trip'] * 1000:g} ms"
    )
    print(
        "| replicas a consumer reaches | calls/s exact | calls/s leased | of these charges, exchanges "
        "| refused though exact admits | admitted too many |"
    )
    print("|---:|---:|---:|---:|---:|---:|")
    for spread in options["spread"]:
        simulation = Simulation(
            traffic, rule, replicas=options["replicas"], spread=spread, round_trip=options["round_trip"]
        )
        with asyncio.Runner(loop_factory=JumpingLoop) as runner:
            runner.run(simulation.run())
        store, seconds = simulation.store, traffic.seconds
        missed = simulation.admitted_exactly - simulation.admitted
        print(
            f"| {spread} | {simulation.requests / seconds:,.0f} "
            f"| {(store.charged + store.exchanged) / seconds:,.0f} "
            f"| {store.charged / seconds:,.0f}, {store.exchanged / seconds:,.0f} "
            f"| {missed / simulation.admitted_exactly:.3%} | {simulation.too_many} |",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--replicas", type=int, default=100)
    parser.add_argument("--consumers", type=int, default=1_000_000)
    parser.add_argument("--exponent", type=float, default=1.0)
    parser.add_argument("--requests-per-second", type=int, default=100_000)
    parser.add_argument("--limit", type=int, default=6000, help="requests a minute of each consumer")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--round-trip", type=float, default=0.001)
    parser.add_argument("--spread", type=int, nargs="+", default=[1, 10, 100])
    simulate(vars(parser.parse_args()))
