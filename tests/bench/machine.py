"""The machine: its two cores, the programs that must be there, and the memory that processes hold.

Every server under test runs on core 0, whatever loads or feeds it on core 1: neither can take time
from the other, and "per core" means what it says.
"""

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

SERVER_CORE = 0
LOAD_CORE = 1
PACKAGES = {"nginx": "nginx", "wrk": "wrk", "taskset": "util-linux"}


class BenchError(Exception):
    """Why a measurement cannot be made, or would not mean what its name says."""


def program(name: str) -> str:
    """Return the path of ``name``; BenchError where it is not installed."""
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin")
    if path is None:
        raise BenchError(f"{name} is not installed: apt-get install {PACKAGES[name]}")
    return path


def require_all() -> None:
    """Raise BenchError unless this machine can run the benchmark."""
    for name in PACKAGES:
        program(name)
    if not {SERVER_CORE, LOAD_CORE} <= os.sched_getaffinity(0):
        raise BenchError("two cores are needed: one for the server under test, one for the load")


def pinned(core: int | None, *command: str) -> list[str]:
    """Return ``command`` so that it runs on ``core`` alone; None is any core."""
    if core is None:
        return [*command]
    return [program("taskset"), "--cpu-list", str(core), *command]


def scratch_parent() -> str | None:
    """Return a folder in memory, so that no disk is measured; None where there is no such place."""
    memory = Path("/dev/shm")
    return str(memory) if memory.is_dir() and shutil.disk_usage(memory).free > 2**30 else None


def resident_bytes(pid: int, *, peak: bool = False) -> int:
    """Return the resident memory of a process and its children.

    With ``peak`` it is the most that they have held since ``forget_peak``.
    """
    field = "VmHWM:" if peak else "VmRSS:"
    total = 0
    for process in _family(pid):
        for line in _lines(f"/proc/{process}/status"):
            if line.startswith(field):
                total += int(line.split()[1]) * 1024
    return total


def forget_peak(pid: int) -> None:
    """Let the peak of a process and its children start from what they hold now."""
    for process in _family(pid):
        Path(f"/proc/{process}/clear_refs").write_text("5")


def processor_seconds(pid: int) -> float:
    """Return the processor time that a process and its children have used so far."""
    ticks = 0
    for process in _family(pid):
        for line in _lines(f"/proc/{process}/stat"):
            # The fields after the program's name, which may hold anything, begin with the state (proc(5)).
            user, system = line.rpartition(")")[2].split()[11:13]
            ticks += int(user) + int(system)
    return ticks / os.sysconf("SC_CLK_TCK")


def children(pid: int) -> list[int]:
    """Return the processes that a process has started and that still run."""
    return [int(child) for line in _lines(f"/proc/{pid}/task/{pid}/children") for child in line.split()]


def voluntary_switches(pid: int) -> int:
    """Return how often a process has gone to sleep so far, and so how often it was woken."""
    lines = _lines(f"/proc/{pid}/status")
    return next(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches:"))


def describe() -> dict[str, str]:
    """Return what the numbers depend on: processor, kernel and versions."""
    models = [
        line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")
    ]
    return {
        "processor": f"{len(models)} x {models[0]}" if models else platform.processor(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "nginx": _version("nginx", "-v"),
        "wrk": _version("wrk", "-v"),
    }


def _family(pid: int) -> list[int]:
    return [pid, *(member for child in children(pid) for member in _family(child))]


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def _version(name: str, flag: str) -> str:
    done = subprocess.run([program(name), flag], capture_output=True, text=True, check=False)
    found = re.search(r"[0-9]+(\.[0-9]+)+", done.stdout + done.stderr)
    return found[0] if found else "of unknown version"
