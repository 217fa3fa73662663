"""What a soak has to tell at its end, for a reader who was not there."""

from collections import Counter
from collections.abc import Mapping, Sequence

from tests.soak.vitals import GAUGES, Vitals

SHOWN = 5
"""Answers that nothing explains are shown up to this number."""


def counted(title: str, counts: Mapping[str, int]) -> None:
    """Print how often each thing happened."""
    print(f"\n{title}")
    width = max(map(len, counts), default=0)
    for name, count in sorted(counts.items()):
        print(f"  {name:<{width}} {count:>9}")


def faults(injected: Mapping[str, Counter[str]]) -> None:
    """Print what was done to whom."""
    kinds = sorted({kind for counts in injected.values() for kind in counts})
    print("\nfaults injected in the connections to")
    rows = [
        [name, *(str(counts[kind]) for kind in kinds), str(counts.total())]
        for name, counts in injected.items()
    ]
    _table(["", *kinds, "all"], rows)


def held(start: Vitals, series: Sequence[Vitals], end: Vitals) -> None:
    """Print what the process held, over time."""
    print("\nwhat the process holds (start and end: calm, without clients; tenths: under load)")
    tenths = [(f"{number}/{len(series)}", vitals) for number, vitals in enumerate(series, 1)]
    _table(["", "RSS MiB", "fds", *GAUGES], [
        [moment, *vitals.row()] for moment, vitals in (("start", start), *tenths, ("end", end))
    ])  # fmt: skip


def verdict(bounds: Sequence[tuple[str, bool]], unexplained: Sequence[str], tracebacks: int) -> int:
    """Print each bound and whether it holds; return the exit code."""
    print("\nbounds")
    every = [
        *bounds,
        (f"answers that nothing explains: none ({len(unexplained)})", bool(unexplained)),
        (f"tracebacks in the proxy's log: none ({tracebacks})", tracebacks > 0),
    ]
    for says, is_exceeded in every:
        print(f"  {'EXCEEDED' if is_exceeded else 'holds   '} {says}")
    for answer in unexplained[:SHOWN]:
        print(f"  unexplained: {answer}")
    failed = any(is_exceeded for _, is_exceeded in every)
    print(f"\n{'failed' if failed else 'passed'}: exit code {int(failed)}")
    return int(failed)


def _table(head: list[str], rows: list[list[str]]) -> None:
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    for row in (head, *rows):
        first, *others = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        print(f"  {first.strip():<{widths[0]}}  {'  '.join(others)}")
