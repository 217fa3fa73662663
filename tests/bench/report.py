"""What was measured, as Markdown tables to paste and as JSON to keep."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field

from tests.bench.cases import CASES, SERVERS, Case, Scale
from tests.bench.features import LEAST, PLAIN
from tests.bench.footprint import Footprint
from tests.bench.rounds import Measured

MIB = 2**20
BASE = "nginx"
OURS = "metaproxy"


@dataclass(slots=True)
class Report:
    """Everything that one run of the benchmark has found out. ``failures`` are messages by case."""

    machine: dict[str, str]
    scale: Scale
    cases: list[tuple[Case, dict[str, Measured]]] = field(default_factory=list)
    growth: dict[str, dict[int, Measured]] = field(default_factory=dict)
    features: dict[str, dict[str, Measured]] = field(default_factory=dict)
    footprint: Footprint | None = None
    failures: dict[str, str] = field(default_factory=dict)


def ratio(measured: dict[str, Measured], label: str = OURS) -> float | None:
    """Return a contestant's rate as a multiple of nginx's; None where one of both is missing."""
    if label not in measured or BASE not in measured:
        return None
    return measured[label].rate / measured[BASE].rate


def markdown(report: Report) -> str:
    """Return the report as Markdown."""
    parts = [_conditions(report)]
    if report.cases:
        parts.append(
            table(CASE_HEADINGS, [_case_row(report, case, measured) for case, measured in report.cases])
        )
    if report.growth:
        parts.append(
            table(("metaproxy, hits/s (CPU each)", *map(str, report.scale.growth)), _growth_rows(report))
        )
    if report.features:
        parts.append(table(FEATURE_HEADINGS, list(_feature_rows(report))))
    if report.footprint is not None:
        parts.append(_footprint_text(report.footprint))
    parts += [f"**{name} was not measured**: {message}" for name, message in report.failures.items()]
    return "\n\n".join(parts) + "\n"


def as_json(report: Report) -> str:
    """Return the report as JSON, every single sample included."""
    document = {
        "machine": report.machine,
        "scale": asdict(report.scale),
        "cases": [
            {
                "name": case.name,
                "title": case.heading(report.scale),
                "unit": case.unit,
                "servers": _by_label(measured),
            }
            for case, measured in report.cases
        ],
        "growth": {thing: _by_label(measured) for thing, measured in report.growth.items()},
        "features": {case: _by_label(measured) for case, measured in report.features.items()},
        "footprint": asdict(report.footprint) if report.footprint else None,
        "failures": report.failures,
    }
    return json.dumps(document, indent=2) + "\n"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; every column but the first is set to the right."""
    lines = [headings, ("---", *("---:" for _ in headings[1:])), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(value: float) -> str:
    """Return ``value`` for human eyes: three significant digits at least, thousands set apart."""
    if value >= 100:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


CASE_HEADINGS = (
    "per second",
    "direct",
    "bare uvicorn",
    "nginx",
    "metaproxy",
    "÷ nginx",
    "p50 ms, nginx : ours",
    "p99 ms, nginx : ours",
    "CPU µs each, nginx : ours",
    "RSS MiB, before : peak",
    "spread",
)


def _case_row(report: Report, case: Case, measured: dict[str, Measured]) -> list[str]:
    multiple = ratio(measured)
    pair = [measured.get(label) for label in (BASE, OURS)]
    ours = measured.get(OURS)
    return [
        case.heading(report.scale) + (", MiB" if case.transfer else ""),
        *(number(measured[label].rate) if label in measured else "" for label in SERVERS),
        "" if multiple is None else f"**{multiple:.2f}**",
        *(_pair(one.latency(percentile) if one else None for one in pair) for percentile in ("p50", "p99")),
        _pair(one.cost if one else None for one in pair),
        f"{ours.resident / MIB:.0f} : {ours.peak / MIB:.0f}" if ours else "",
        f"{max(one.spread for one in measured.values()):.0%}",
    ]


def _pair(values: Iterable[float | None]) -> str:
    shown = ["–" if value is None else number(value) for value in values]
    return "" if set(shown) == {"–"} else " : ".join(shown)


def _growth_rows(report: Report) -> list[list[str]]:
    return [
        [f"by {thing}", *(_rate_and_cost(measured[size]) for size in report.scale.growth)]
        for thing, measured in report.growth.items()
    ]


FEATURE_HEADINGS = ("metaproxy, per second", "rate", "÷ plain", "at least", "p99 ÷ plain", "CPU µs each")


def _feature_rows(report: Report) -> Iterator[list[str]]:
    for case, measured in report.features.items():
        plain, title = measured[PLAIN], CASES[case].heading(report.scale)
        yield [title, number(plain.rate), "", "", "", number(plain.cost)]
        for feature, least in LEAST[case].items():
            one = measured[feature.value]
            multiple = f"**{one.rate / plain.rate:.2f}**"
            before, after = plain.latency("p99"), one.latency("p99")
            slower = f"{after / before:.2f}" if before and after else ""
            title_of = f"{title}, {feature.value}"
            yield [title_of, number(one.rate), multiple, f"{least}", slower, number(one.cost)]


def _rate_and_cost(measured: Measured) -> str:
    return f"{number(measured.rate)} ({number(measured.cost)} µs)"


def _conditions(report: Report) -> str:
    scale = report.scale
    versions = ", ".join(f"{name} {value}" for name, value in report.machine.items())
    return (
        f"Medians of {scale.rounds} alternating rounds of {scale.seconds} s, {scale.connections} connections "
        f"where nothing else is said; each server on one core, load and upstream on the other. {versions}."
    )


def _footprint_text(footprint: Footprint) -> str:
    return (
        f"metaproxy's memory: {footprint.at_start / MIB:.0f} MiB at the start, "
        f"{footprint.filled / MIB:.0f} MiB after {number(footprint.offered)} answers "
        "of 200 bytes were offered to its cache."
    )


def _by_label(measured: dict[str, Measured] | dict[int, Measured]) -> dict[str, object]:
    return {
        str(label): {
            "rate": one.rate,
            "cpu_microseconds": one.cost,
            "p50_ms": one.latency("p50"),
            "p99_ms": one.latency("p99"),
            "resident_bytes": one.resident,
            "peak_bytes": one.peak,
            "samples": [asdict(sample) for sample in one.samples],
            "costs": one.costs,
        }
        for label, one in measured.items()
    }
