"""What a process holds: memory, descriptors, tasks."""

from dataclasses import dataclass
from pathlib import Path

import httpx


@dataclass(frozen=True)
class Vitals:
    """Resident megabytes, open descriptors and tasks of a process."""

    rss: float
    descriptors: int
    tasks: int

    def __str__(self) -> str:
        return f"RSS {self.rss:.1f} MiB, {self.descriptors} descriptors, {self.tasks} tasks"


def vitals_of(process_id: int, admin_url: str) -> Vitals:
    """Look at the process, and ask its operator's listener for its tasks."""
    status = Path(f"/proc/{process_id}/status").read_text()
    rss = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))
    metrics = httpx.get(f"{admin_url}/metrics", timeout=20, trust_env=False).text
    tasks = next(
        float(line.split()[1]) for line in metrics.splitlines() if line.startswith("metaproxy_tasks ")
    )
    descriptors = len(list(Path(f"/proc/{process_id}/fd").iterdir()))
    return Vitals(rss / 1024, descriptors, int(tasks))


def exceeded(start: Vitals, end: Vitals) -> list[str]:
    """Say which bound is exceeded: 48 MiB, 10 descriptors, 5 tasks more than at the start."""
    found = []
    if end.rss > start.rss + 48:
        found.append("memory grew")
    if end.descriptors > start.descriptors + 10:
        found.append("descriptors leaked")
    if end.tasks > start.tasks + 5:
        found.append("tasks leaked")
    return found
