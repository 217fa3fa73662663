"""Runs wrk against a server and reads what it has counted."""

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from tests.bench import machine
from tests.bench.machine import BenchError
from tests.bench.population import Request
from tests.bench.servers import Server

SCRIPT = Path(__file__).with_name("load.lua")
NUMBERS_PER_RUN = 10_000_000
"""More than a run can use: requests that must differ do so over all runs."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What one run measured: how many requests or MiB, in how many seconds; p50 and p99 in milliseconds."""

    amount: float
    seconds: float
    p50: float | None = None
    p99: float | None = None

    @property
    def rate(self) -> float:
        """The amount in a second."""
        return self.amount / self.seconds


@dataclass(frozen=True, slots=True)
class Counts:
    """What wrk has counted. Times are in microseconds."""

    requests: int
    microseconds: int
    status_errors: int
    socket_errors: int
    p50: int
    p90: int
    p99: int
    max: int

    @property
    def sample(self) -> Sample:
        """The run as a sample of requests."""
        return Sample(self.requests, self.microseconds / 1e6, self.p50 / 1000, self.p99 / 1000)


def read_counts(output: str) -> Counts:
    """Return the counts in wrk's output, where ``load.lua`` has written them as one line of JSON."""
    for line in output.splitlines():
        if line.startswith("{"):
            return Counts(**json.loads(line))
    raise BenchError(f"wrk has counted nothing:\n{output}")


class Load:
    """Sends ``requests`` in turn over ``connections``, from ``core`` alone or, for None, from any.

    ``folder`` is for the file in which wrk finds the requests.
    """

    _starts: Iterator[int] = count(0, NUMBERS_PER_RUN)

    def __init__(
        self,
        requests: Sequence[Request],
        connections: int,
        folder: Path,
        core: int | None = machine.LOAD_CORE,
    ) -> None:
        self._core = core
        self.requests = requests
        self.connections = connections
        self._file = folder / "requests"

    def run(self, server: Server, seconds: int) -> Counts:
        """Load ``server`` for ``seconds``; BenchError where connections broke."""
        self._file.write_text("".join(request.head(server.port) for request in self.requests), newline="")
        wrk = [machine.program("wrk"), "--threads", "1", "--connections", str(self.connections)]
        done = subprocess.run(
            machine.pinned(
                self._core,
                *wrk,
                *("--duration", f"{seconds}s", "--timeout", "5s", "--script", str(SCRIPT)),
                f"http://127.0.0.1:{server.port}",
            ),
            env={**os.environ, "BENCH_REQUESTS": str(self._file), "BENCH_START": str(next(self._starts))},
            capture_output=True,
            text=True,
            check=False,
        )
        counts = read_counts(done.stdout + done.stderr)
        if counts.socket_errors:
            raise BenchError(
                f"{server.name}: {counts.socket_errors} of wrk's connections failed or timed out"
            )
        return counts
