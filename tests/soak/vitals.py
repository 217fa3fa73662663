"""What a process holds: memory, descriptors, tasks, connections, entries."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import httpx

GAUGES = {
    "tasks": "metaproxy_tasks",
    "clients": "metaproxy_connections",
    "running": "metaproxy_upstream_active_requests",
    "queued": "metaproxy_upstream_queued",
    "flights": "metaproxy_cache_flights",
    "cache keys": "metaproxy_cache_keys",
    "cache bytes": "metaproxy_cache_bytes",
    "tokens": "metaproxy_token_cache_entries",
    "counters": "metaproxy_limit_counters",
}
"""Columns of the report, and the instrument that each is the sum of."""

RSS_MIB = 48.0
"""How much more memory than at the start the end may have …"""
RSS_LATE_MIB = 12.0
"""… and how much more the last fifth of the run than the fifth before its middle: it must level off."""
DESCRIPTORS = 10
TASKS = 5

_SAMPLE = re.compile(r"(\w+)(?:\{(.*)\})? ([0-9.e+-]+)")


@dataclass(frozen=True)
class Vitals:
    """Resident MiB, open descriptors and ``held`` (by GAUGES) of a process."""

    rss: float
    descriptors: int
    held: Mapping[str, int]

    def row(self) -> list[str]:
        """The numbers, as the report shows them."""
        return [f"{self.rss:.1f}", str(self.descriptors), *(str(self.held[name]) for name in GAUGES)]


def vitals_of(process_id: int, admin_url: str) -> Vitals:
    """Look at the process, and ask its operator's listener for what it holds."""
    status = Path(f"/proc/{process_id}/status").read_text()
    rss = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))
    descriptors = len(list(Path(f"/proc/{process_id}/fd").iterdir()))
    sums: Counter[str] = Counter()
    for name, _, value in _samples(admin_url):
        sums[name] += int(float(value))
    return Vitals(rss / 1024, descriptors, {name: sums[gauge] for name, gauge in GAUGES.items()})


def reasons_of(admin_url: str) -> Counter[str]:
    """Return how often the proxy answered how, and why, in its own words."""
    found: Counter[str] = Counter()
    for name, labels, value in _samples(admin_url):
        if name == "metaproxy_requests_total":
            told = dict(re.findall(r'(\w+)="([^"]*)"', labels))
            found[f"{told['status']} {told['reason'] or told['outcome']}"] += int(float(value))
    return found


def _samples(admin_url: str) -> list[tuple[str, str, str]]:
    text = httpx.get(f"{admin_url}/metrics", timeout=20, trust_env=False).text
    return [found.groups("") for found in map(_SAMPLE.fullmatch, text.splitlines()) if found]  # type: ignore[misc]


def exceeded(
    start: Vitals, series: Sequence[Vitals], end: Vitals, most: Mapping[str, int]
) -> list[tuple[str, bool]]:
    """Return every bound, in words, and whether it is exceeded. ``most`` bounds what is held at the end."""
    middle, last = len(series) // 2, len(series)
    before = mean(vitals.rss for vitals in series[middle - 2 : middle])
    late = mean(vitals.rss for vitals in series[last - 2 : last])
    return [
        (f"memory at the end: at most {RSS_MIB:.0f} MiB more than at the start",
         end.rss > start.rss + RSS_MIB),
        (f"memory of the last fifth: at most {RSS_LATE_MIB:.0f} MiB more than before the middle",
         late > before + RSS_LATE_MIB),
        (f"descriptors: at most {DESCRIPTORS} more than at the start",
         end.descriptors > start.descriptors + DESCRIPTORS),
        (f"tasks: at most {TASKS} more than at the start", end.held["tasks"] > start.held["tasks"] + TASKS),
        *((f"{name} at the end: at most {bound}", end.held[name] > bound) for name, bound in most.items()),
    ]  # fmt: skip
