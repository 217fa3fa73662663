"""What a second worker adds: hits whose rate is counted in Redis, with one worker and with two.

Run as ``python -m tests.bench.workers``. Nothing is pinned: workers, Redis and the load share all cores. So
two workers reach less than twice what one does, by what the others need of the second core; what a hit
costs the workers tells whether they are in each other's way.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

import yaml

from tests.bench import machine, population, probe, settings
from tests.bench.load import SCRIPT, read_counts
from tests.bench.servers import Server, Stand, running
from tests.redis_server import RedisServer

WORKERS = (1, 2)
CONNECTIONS = 64
SECONDS = 3
ROUNDS = 5


@contextmanager
def metaproxy(stand: Stand, folder: Path, *, workers: int, redis: str) -> Iterator[Server]:
    """Run metaproxy with so many workers that share ``redis``."""
    folder.mkdir()
    port = machine.free_port()
    path = settings.write_settings(
        folder,
        port=port,
        upstream_port=stand.upstream.port,
        keystone_port=stand.keystone.port,
        access_log=True,
        rules=1,
    )
    written = yaml.safe_load(path.read_text())
    written["server"]["workers"] = workers
    written["store"] = {"url": redis}
    path.write_text(yaml.safe_dump(written, sort_keys=False))
    command = [sys.executable, "-m", "metaproxy", "serve", "--config", str(path)]
    with running(command, folder, port) as pid:
        yield Server(f"workers: {workers}", port, pid, folder / "output")


def measure(server: Server, folder: Path) -> tuple[float, float]:
    """Return the hits that ``server`` answers in a second, and the microseconds that one costs it."""
    requests = folder / "requests"
    requests.write_text(population.read().head(server.port), newline="")
    wrk = [machine.program("wrk"), "--threads", "1", "--connections", str(CONNECTIONS)]
    used = machine.processor_seconds(server.pid)
    done = subprocess.run(
        [*wrk, "--duration", f"{SECONDS}s", "--script", str(SCRIPT), f"http://127.0.0.1:{server.port}"],
        env={**os.environ, "BENCH_REQUESTS": str(requests), "BENCH_START": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    used = machine.processor_seconds(server.pid) - used
    server.empty_access_log()
    counts = read_counts(done.stdout + done.stderr)
    if counts.status_errors or counts.socket_errors:
        raise machine.BenchError(f"{server.name}: not every request was answered with 200")
    return counts.sample.rate, used / counts.requests * 1e6


def main() -> None:
    """Measure in alternating rounds, and print medians."""
    machine.require_all()
    with tempfile.TemporaryDirectory(dir=machine.scratch_parent()) as scratch, ExitStack() as stack:
        folder = Path(scratch)
        redis = stack.enter_context(RedisServer())
        stand = stack.enter_context(Stand(folder / "stand"))
        servers = [
            stack.enter_context(metaproxy(stand, folder / str(workers), workers=workers, redis=redis.url))
            for workers in WORKERS
        ]
        for server in servers:
            for _ in range(20):  # every worker has to have the answer
                probe.prime(server, [population.read()])
        measured: dict[str, list[tuple[float, float]]] = {server.name: [] for server in servers}
        for _ in range(ROUNDS):
            for server in servers:
                measured[server.name].append(measure(server, folder))
    for name, rounds in measured.items():
        rates, costs = zip(*rounds, strict=True)
        print(f"{name}: {median(rates):,.0f} hits/s, each {median(costs):.0f} µs of the workers")


if __name__ == "__main__":
    main()
