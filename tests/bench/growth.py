"""What a hit costs when there is more of something: tokens, stored answers, rules. It should not matter."""

from pathlib import Path

from tests.bench import population
from tests.bench.cases import HIT, Scale
from tests.bench.load import Load
from tests.bench.population import Request
from tests.bench.rounds import Measured, alternate, wrk_contestant
from tests.bench.servers import Setup, Stand

THINGS = ("tokens", "entries", "rules")
"""Rules are rate rules, role rules and cached routes: so many of each."""


def measure(thing: str, stand: Stand, scale: Scale, folder: Path) -> dict[int, Measured]:
    """Measure metaproxy's hits with 1, 10, 100, … of ``thing``; return what was measured by number."""
    contestants = [
        wrk_contestant(
            str(number),
            stand.server("metaproxy", Setup(rules=number if thing == "rules" else 1)),
            Load(_requests(thing, number), scale.connections, folder),
            HIT,
            stand=stand,
        )
        for number in scale.growth
    ]
    measured = alternate(contestants, scale.rounds, scale.seconds)
    return {number: measured[str(number)] for number in scale.growth}


def _requests(thing: str, number: int) -> list[Request]:
    match thing:
        case "tokens":
            return [population.read(caller) for caller in range(number)]
        case "entries":
            return [population.read(key=f"entry-{entry}") for entry in range(number)]
        case _:
            return [population.read()]
