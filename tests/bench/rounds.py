"""Measures several contestants in alternating rounds: A B C, A B C, …

What else the machine does in the meantime then hits all of them alike, and the median forgets it.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

from tests.bench import machine, probe
from tests.bench.load import Load, Sample
from tests.bench.probe import Expectation
from tests.bench.servers import Server, Stand

PRIMINGS = 20
PRIMING_PAUSE_SECONDS = 0.2
"""A cache that shares its purges stores nothing before it is in touch with the store."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """One thing that is compared.

    ``prepare`` readies it and checks that it does its work; ``measure`` runs it for so many seconds.
    """

    label: str
    server: Server
    prepare: Callable[[], None]
    measure: Callable[[int], Sample]


@dataclass(slots=True)
class Measured:
    """The samples of one contestant, and the memory of its server in bytes, before and at most.

    ``costs`` are microseconds of the server's processor time for one request or MiB, by sample. They
    say the same as the rate, but a machine that is busy with other things changes them little.
    """

    samples: list[Sample] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)
    resident: int = 0
    peak: int = 0

    @property
    def rate(self) -> float:
        """The median rate."""
        return median(sample.rate for sample in self.samples)

    @property
    def cost(self) -> float:
        """The median cost."""
        return median(self.costs)

    @property
    def spread(self) -> float:
        """The distance between the lowest and the highest rate, as a share of the median."""
        rates = [sample.rate for sample in self.samples]
        return (max(rates) - min(rates)) / self.rate

    def latency(self, percentile: str) -> float | None:
        """Return the median ``p50`` or ``p99`` in milliseconds; None where none was measured."""
        values = [getattr(sample, percentile) for sample in self.samples]
        return None if None in values else median(values)


def alternate(contestants: Sequence[Contestant], rounds: int, seconds: int) -> dict[str, Measured]:
    """Prepare all contestants, then measure them in turn, ``rounds`` times ``seconds`` each."""
    for contestant in contestants:
        contestant.prepare()
    measured = {contestant.label: Measured() for contestant in contestants}
    for contestant in contestants:
        measured[contestant.label].resident = machine.resident_bytes(contestant.server.pid)
    for _ in range(rounds):
        for contestant in contestants:
            _measure(contestant, seconds, measured[contestant.label])
    return measured


def wrk_contestant(
    label: str, server: Server, load: Load, expectation: Expectation, *, stand: Stand, primed: bool = True
) -> Contestant:
    """Return a contestant that wrk loads: every answer is checked by status, and by who was asked for it."""

    def prepare() -> None:
        for _ in range(PRIMINGS if primed else 0):
            probe.prime(server, load.requests)
            if probe.is_met(server, load.requests[0], expectation):
                return
            time.sleep(PRIMING_PAUSE_SECONDS)
        probe.verify(server, load.requests[0], expectation)

    def measure(seconds: int) -> Sample:
        before = probe.requests_behind(stand)
        counts = load.run(server, seconds)
        asked = probe.requests_behind(stand) - before
        if server.name != "direct":
            probe.verify_counts(server, counts, expectation, asked)
        return counts.sample

    return Contestant(label, server, prepare, measure)


def _measure(contestant: Contestant, seconds: int, measured: Measured) -> None:
    server = contestant.server
    machine.forget_peak(server.pid)
    used = machine.processor_seconds(server.pid)
    sample = contestant.measure(seconds)
    used = machine.processor_seconds(server.pid) - used
    measured.samples.append(sample)
    measured.costs.append(used / sample.amount * 1e6)
    measured.peak = max(measured.peak, machine.resident_bytes(server.pid, peak=True))
    server.empty_access_log()
