"""How much memory metaproxy holds: when it has started, and when many answers were offered to its cache."""

from dataclasses import dataclass
from pathlib import Path

from tests.bench import machine, population, probe
from tests.bench.load import Load
from tests.bench.population import COUNTER
from tests.bench.probe import Expectation
from tests.bench.servers import Server, Stand
from tests.bench.upstream import WIDE_ITEM

ANSWER = Expectation(body=WIDE_ITEM, asks_upstream=True)


@dataclass(frozen=True, slots=True)
class Footprint:
    """Resident memory in bytes at the start, and after ``offered`` answers of 200 bytes could be stored."""

    at_start: int
    filled: int
    offered: int


def measure(stand: Stand, entries: int, folder: Path) -> Footprint:
    """Start a metaproxy of its own and offer its cache at least ``entries`` answers, each of another URL."""
    server = stand.fresh("metaproxy")
    at_start = machine.resident_bytes(server.pid)
    load = Load([population.read(key=f"wide-{COUNTER}")], 32, folder)
    probe.verify(server, load.requests[0], ANSWER)
    offered = 0
    while offered < entries:
        offered += _offer(server, stand, load)
    return Footprint(at_start, machine.resident_bytes(server.pid), offered)


def _offer(server: Server, stand: Stand, load: Load) -> int:
    before = probe.requests_behind(stand)
    counts = load.run(server, 1)
    asked = probe.requests_behind(stand) - before
    probe.verify_counts(server, counts, ANSWER, asked)
    server.empty_access_log()
    return counts.requests
