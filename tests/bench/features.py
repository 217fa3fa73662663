"""What a feature costs that an operator switches on: the same requests without it and with it, in one run."""

from collections.abc import Mapping
from pathlib import Path

from tests.bench import cases
from tests.bench.cases import CASES, Scale
from tests.bench.rounds import Contestant, Measured, alternate
from tests.bench.servers import Stand
from tests.bench.settings import Feature

PLAIN = "plain"

LEAST: Mapping[str, Mapping[Feature, float]] = {
    "hit": {Feature.EDITS: 0.9, Feature.SPANS: 0.9, Feature.REDIS: 0.5, Feature.LEASES: 0.85},
    "hit-many": {Feature.LEASES: 0.85},
    "miss": {Feature.NO_ROUTES: 0.95},
}
"""By case, the features that are measured with its requests, and what is to be left of the plain rate."""


def measure(case: str, stand: Stand, scale: Scale, folder: Path) -> dict[str, Measured]:
    """Measure metaproxy with the requests of ``case``, plain and with each feature; return both by name."""
    return alternate(contestants(case, stand, scale, folder), scale.rounds, scale.seconds)


def contestants(case: str, stand: Stand, scale: Scale, folder: Path) -> list[Contestant]:
    """Return metaproxy as often as it is measured with the requests of ``case``."""
    return [
        cases.contestant(
            "metaproxy",
            CASES[case],
            stand,
            scale,
            folder,
            label=feature.value if feature else PLAIN,
            feature=feature,
        )
        for feature in (None, *LEAST[case])
    ]
