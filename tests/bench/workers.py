"""The price of a second worker: hits whose rate is counted, in one worker, in two, and in two with a Redis.

Run as ``python -m tests.bench.workers``. Nothing is pinned: supervisor, workers, Redis and the load share all
cores. So two workers reach less than twice the hits of one, by as much as the others need of the second core.
The processor time of a hit does not depend on that. Two servers that share nothing are the control: they show
how much dearer a hit is only because two processes and their load keep two cores busy.
"""

import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from statistics import median

from tests.bench import machine, population, probe
from tests.bench.cases import HIT
from tests.bench.load import Load
from tests.bench.servers import Server, Setup, Stand
from tests.redis_server import RedisServer

CONNECTIONS = 64
SECONDS = 5
ROUNDS = 5
REQUESTS = [population.read()]
ONE, APART = "one worker", "two servers that share nothing"


@dataclass(frozen=True, slots=True)
class Usage:
    """The use of the machine by servers: seconds of the processor, and how often a supervisor was woken."""

    workers: float
    supervisor: float
    wakes: int

    def since(self, before: "Usage") -> "Usage":
        """Return what was used since ``before``."""
        return Usage(
            self.workers - before.workers, self.supervisor - before.supervisor, self.wakes - before.wakes
        )


@dataclass(frozen=True, slots=True)
class Sample:
    """One run: hits a second, and what one hit has cost: microseconds in workers and in the supervisor."""

    rate: float
    worker: float
    supervisor: float
    wakes: float
    """Wakes of the supervisor for 1,000 hits."""

    @property
    def cost(self) -> float:
        """The microseconds of the processor for one hit."""
        return self.worker + self.supervisor


@dataclass(frozen=True, slots=True)
class Contestant:
    """Servers that half of the load each is for, or one server for both halves."""

    servers: Sequence[Server]
    samples: list[Sample] = field(default_factory=list)

    def measure(self, loads: Sequence[Load], seconds: int) -> None:
        """Load the servers once."""
        before = self._usage()
        with ThreadPoolExecutor(len(loads)) as threads:
            runs = [
                threads.submit(load.run, server, seconds)
                for load, server in zip(loads, cycle(self.servers), strict=False)
            ]
            counts = [run.result() for run in runs]
        used = self._usage().since(before)
        hits = sum(each.requests for each in counts)
        if errors := sum(each.status_errors for each in counts):
            raise machine.BenchError(f"{errors} of {hits} answers were no hits")
        self.samples.append(
            Sample(
                rate=sum(each.sample.rate for each in counts),
                worker=used.workers / hits * 1e6,
                supervisor=used.supervisor / hits * 1e6,
                wakes=used.wakes / hits * 1e3,
            )
        )

    def median(self, name: str) -> float:
        """Return the median of one number of the samples."""
        return float(median(getattr(sample, name) for sample in self.samples))

    def _usage(self) -> Usage:
        workers, supervisor, wakes = 0.0, 0.0, 0
        for server in self.servers:
            used = machine.processor_seconds(server.pid)
            children = machine.children(server.pid)
            if children:
                workers += (in_workers := sum(map(machine.processor_seconds, children)))
                supervisor += used - in_workers
                wakes += machine.voluntary_switches(server.pid)
            else:
                workers += used
        return Usage(workers, supervisor, wakes)


def main() -> None:
    """Measure in alternating rounds, and print medians."""
    machine.require_all()
    with tempfile.TemporaryDirectory(dir=machine.scratch_parent()) as scratch, RedisServer() as redis:
        folder = Path(scratch)
        loads = []
        for name in ("first", "second"):
            (folder / name).mkdir()
            loads.append(Load(REQUESTS, CONNECTIONS // 2, folder / name, core=None))
        with Stand(folder / "stand") as stand:
            contestants = {
                ONE: Contestant([stand.server("metaproxy", Setup(core=None))]),
                APART: Contestant([stand.fresh("metaproxy", Setup(core=None)) for _ in loads]),
                "two workers, sharing through their supervisor": Contestant(
                    [stand.server("metaproxy", Setup(workers=2, core=None))]
                ),
                "two workers, sharing through Redis": Contestant(
                    [stand.server("metaproxy", Setup(workers=2, store=redis.url, core=None))]
                ),
            }
            for contestant in contestants.values():
                for server in contestant.servers:
                    for _ in range(20):  # every worker has to have the answer
                        probe.prime(server, REQUESTS)
                    probe.verify(server, REQUESTS[0], HIT)
            for _ in range(ROUNDS):
                for contestant in contestants.values():
                    contestant.measure(loads, SECONDS)
    _print(contestants)


def _print(contestants: dict[str, Contestant]) -> None:
    one, apart = contestants[ONE].median("cost"), contestants[APART].median("cost")
    for label, each in contestants.items():
        cost = each.median("cost")
        print(
            f"{label}: {each.median('rate'):,.0f} hits/s, each {cost:.1f} µs of the processor"
            f" ({each.median('worker'):.1f} in workers, {each.median('supervisor'):.1f} in the supervisor),"
            f" {cost / apart:.2f} x the control; on cores of their own {2 * one / cost:.2f} x one worker;"
            f" the supervisor woke {each.median('wakes'):.2f} times for 1,000 hits"
        )


if __name__ == "__main__":
    main()
