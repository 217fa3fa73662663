"""Measures metaproxy side by side with nginx doing the same work: ``python -m tests.bench``.

Needs nginx and wrk (``apt-get install nginx wrk``), two cores and nothing but the loopback interface. What
the numbers mean stands in the docstrings of ``cases`` and ``rounds`` and at the head of ``nginx.conf``.
"""

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from tests.bench import cases, chart, features, footprint, growth, machine, report
from tests.bench.cases import CASES, QUICK, SERVERS, Scale
from tests.bench.machine import BenchError
from tests.bench.report import Report
from tests.bench.servers import Stand

GROWTH = {f"growth-{thing}": thing for thing in growth.THINGS}
FEATURES = {f"features-{case}": case for case in features.LEAST}
MEMORY = "memory"
NAMES = (*CASES, *GROWTH, *FEATURES, MEMORY)
JSON_FILE = Path("bench-results/latest.json")


def main() -> int:
    """Measure, print the tables, write the files; return 1 where a case could not be measured."""
    arguments = _arguments()
    try:
        machine.require_all()
        result = _measure(arguments.cases, _scale(arguments))
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(report.markdown(result))
    _write(arguments.json, report.as_json(result))
    if arguments.svg is not None:
        _write(arguments.svg, chart.svg(result))
    return 1 if result.failures else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--cases", type=_some_of(NAMES), default=NAMES, help=f"comma-separated, of: {', '.join(NAMES)}")
    add("--servers", type=_some_of(SERVERS), default=SERVERS, help=f"of: {', '.join(SERVERS)}")
    add("--seconds", type=int, help="how long a run lasts (3)")
    add("--rounds", type=int, help="how often everything is measured (5)")
    add("--connections", type=int, default=32, help="where a case does not say (32)")
    add("--json", type=Path, default=JSON_FILE, help=f"where all samples go ({JSON_FILE})")
    add("--svg", type=Path, help="where a chart goes")
    add("--quick", action="store_true", help="one round of a second, fewer entries: a smoke test")
    return parser.parse_args()


def _some_of(known: tuple[str, ...]) -> Callable[[str], tuple[str, ...]]:
    def names(text: str) -> tuple[str, ...]:
        wanted = tuple(text.split(","))
        if unknown := set(wanted) - set(known):
            raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: not among {', '.join(known)}")
        return wanted

    return names


def _scale(arguments: argparse.Namespace) -> Scale:
    scale = QUICK if arguments.quick else Scale(seconds=3, rounds=5)
    return replace(
        scale,
        seconds=arguments.seconds or scale.seconds,
        rounds=arguments.rounds or scale.rounds,
        connections=arguments.connections,
        servers=arguments.servers,
    )


def _measure(names: tuple[str, ...], scale: Scale) -> Report:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the servers are stopped, too
    os.sched_setaffinity(0, {machine.LOAD_CORE})
    result = Report(machine.describe(), scale)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=machine.scratch_parent()) as scratch:
        folder = Path(scratch)
        with Stand(folder / "servers") as stand:
            for name in names:
                with _progress(name, result):
                    _measure_one(name, result, stand, folder)
    return result


def _measure_one(name: str, result: Report, stand: Stand, folder: Path) -> None:
    if name == MEMORY:
        result.footprint = footprint.measure(stand, result.scale.entries, folder)
    elif name in GROWTH:
        result.growth[GROWTH[name]] = growth.measure(GROWTH[name], stand, result.scale, folder)
    elif name in FEATURES:
        result.features[FEATURES[name]] = features.measure(FEATURES[name], stand, result.scale, folder)
    else:
        result.cases.append((CASES[name], cases.measure(CASES[name], stand, result.scale, folder)))


@contextmanager
def _progress(name: str, result: Report) -> Iterator[None]:
    """Say what is being measured; a failure is kept for the report, and the rest goes on."""
    print(f"{name} …", end="", file=sys.stderr, flush=True)
    try:
        yield
    except BenchError as error:
        result.failures[name] = str(error)
        print(f" not measured: {error}", file=sys.stderr)
    else:
        print(" done", file=sys.stderr)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    print(f"wrote {path}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
