"""What a second worker adds: hits whose rate is counted in Redis, with one worker and with two.

Run as ``python -m tests.bench.workers``. Nothing is pinned: workers, Redis and the load share all cores. So
two workers reach less than twice what one does, by what the others need of the second core; what a hit
costs the workers tells whether they are in each other's way.
"""

import tempfile
from pathlib import Path

from tests.bench import machine, population, probe
from tests.bench.cases import HIT
from tests.bench.load import Load
from tests.bench.rounds import alternate, wrk_contestant
from tests.bench.servers import Setup, Stand
from tests.redis_server import RedisServer

WORKERS = (1, 2)
CONNECTIONS = 64
SECONDS = 3
ROUNDS = 5
REQUESTS = [population.read()]


def main() -> None:
    """Measure in alternating rounds, and print medians."""
    machine.require_all()
    with tempfile.TemporaryDirectory(dir=machine.scratch_parent()) as scratch, RedisServer() as redis:
        folder = Path(scratch)
        load = Load(REQUESTS, CONNECTIONS, folder, core=None)
        with Stand(folder / "stand") as stand:
            contestants = []
            for workers in WORKERS:
                server = stand.server("metaproxy", Setup(workers=workers, store=redis.url, core=None))
                for _ in range(20):  # every worker has to have the answer
                    probe.prime(server, REQUESTS)
                contestants.append(wrk_contestant(f"workers: {workers}", server, load, HIT, stand=stand))
            measured = alternate(contestants, ROUNDS, SECONDS)
    for label, numbers in measured.items():
        print(f"{label}: {numbers.rate:,.0f} hits/s, each {numbers.cost:.0f} µs of the workers")


if __name__ == "__main__":
    main()
