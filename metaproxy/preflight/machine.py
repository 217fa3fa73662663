"""The limits of the machine and the process on which a configuration is to run."""

import os
import resource
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from metaproxy.clock import Clock, wall

CAP_NET_BIND_SERVICE = 10
"""capabilities(7)"""

MANY_DESCRIPTORS = 1024 * 1024
PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Machine:
    """The limits that the machine sets to this process.

    Args:
        time: the wall clock, for the dates of certificates.
        descriptors: how many file descriptors the process may open at most (the hard limit).
        memory: bytes of memory that it may use; 0 if that is not known.
        first_free_port: ports below it are privileged.
        binds_any_port: whether the process may bind privileged ports.
        binds: whether addresses are still to be bound. A running metaproxy has bound its own.
        passed: the sections whose sockets systemd has bound.
    """

    time: Clock = wall
    descriptors: int = MANY_DESCRIPTORS
    memory: int = 0
    first_free_port: int = 1024
    binds_any_port: bool = False
    binds: bool = True
    passed: frozenset[str] = frozenset()


def this_machine(environ: Mapping[str, str] = os.environ, *, binds: bool = True) -> Machine:
    """Return the machine that this process runs on."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return Machine(
        descriptors=hard if hard != resource.RLIM_INFINITY else MANY_DESCRIPTORS,
        memory=min(filter(None, (_total_memory(), *_memory_limits())), default=0),
        first_free_port=_number(PROC / "sys/net/ipv4/ip_unprivileged_port_start", 1024),
        binds_any_port=_has_capability(CAP_NET_BIND_SERVICE),
        binds=binds,
        passed=_passed(environ),
    )


def _number(file: Path, otherwise: int) -> int:
    with suppress(OSError, ValueError):
        return int(file.read_text())
    return otherwise


def _has_capability(number: int) -> bool:
    with suppress(OSError, ValueError, IndexError):
        effective = (PROC / "self/status").read_text().partition("CapEff:")[2].split()[0]
        return bool(int(effective, 16) >> number & 1)
    return os.geteuid() == 0


def _total_memory() -> int:
    with suppress(OSError, ValueError, IndexError):
        return int((PROC / "meminfo").read_text().partition("MemTotal:")[2].split()[0]) * 1024
    return 0


def _memory_limits() -> list[int]:
    """The limits of this process's control group and of the groups around it (cgroups(7), version 2)."""
    limits = []
    with suppress(OSError):
        group = (PROC / "self/cgroup").read_text().rpartition("0::")[2].splitlines()[:1]
        inside = CGROUPS / "".join(group).strip().lstrip("/")
        folders = [inside, *inside.parents] if inside.is_relative_to(CGROUPS) else [CGROUPS]
        limits = [_number(folder / "memory.max", 0) for folder in folders if folder.is_relative_to(CGROUPS)]
        limits.append(_number(CGROUPS / "memory/memory.limit_in_bytes", 0))
    return limits


def _passed(environ: Mapping[str, str]) -> frozenset[str]:
    """The sections for which sd_listen_fds(3) passes sockets to this process."""
    if environ.get("LISTEN_PID") != str(os.getpid()):
        return frozenset()
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    return frozenset("admin" if name == "admin" else "server" for name in names)
