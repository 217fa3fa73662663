"""The gain of a second worker: hits whose rate is counted, in one worker, in two, and in two with a Redis.

Run as ``python -m tests.bench.workers``. Nothing is pinned: supervisor, workers, Redis and the load share all
cores. So two workers reach less than twice the hits of one, by as much as the others need of the second core.
The processor time of a hit, in supervisor and workers together, shows what sharing itself costs.
"""

import tempfile
from pathlib import Path

from tests.bench import machine, population, probe
from tests.bench.cases import HIT
from tests.bench.load import Load
from tests.bench.rounds import alternate, wrk_contestant
from tests.bench.servers import Setup, Stand
from tests.redis_server import RedisServer

CONNECTIONS = 64
SECONDS = 5
ROUNDS = 5
REQUESTS = [population.read()]


def main() -> None:
    """Measure in alternating rounds, and print medians."""
    machine.require_all()
    with tempfile.TemporaryDirectory(dir=machine.scratch_parent()) as scratch, RedisServer() as redis:
        folder = Path(scratch)
        load = Load(REQUESTS, CONNECTIONS, folder, core=None)
        setups = {
            "one worker": Setup(core=None),
            "two, sharing through their supervisor": Setup(workers=2, core=None),
            "two, sharing through Redis": Setup(workers=2, store=redis.url, core=None),
        }
        with Stand(folder / "stand") as stand:
            contestants = []
            for label, setup in setups.items():
                server = stand.server("metaproxy", setup)
                for _ in range(20):  # every worker has to have the answer
                    probe.prime(server, REQUESTS)
                contestants.append(wrk_contestant(label, server, load, HIT, stand=stand))
            measured = alternate(contestants, ROUNDS, SECONDS)
    for label, numbers in measured.items():
        print(f"{label}: {numbers.rate:,.0f} hits/s, each {numbers.cost:.1f} µs of the processor")


if __name__ == "__main__":
    main()
