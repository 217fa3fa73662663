"""The memory that a process may use, by the table in config/SIZING.md."""

import re

from metaproxy.config import Config
from metaproxy.config.model.identity import Keystone
from tests.deploy.files import DEPLOY

SIZING = (DEPLOY.parent / "config" / "SIZING.md").read_text()
CELL = r"([^|\n]*)\|"
ROW = re.compile(rf"^\|{CELL}{CELL}{CELL}{CELL}$", re.M)
MIB = 2**20
FREE = 0.1
"""The part of a container's memory that stays free."""


def rows() -> dict[str, tuple[str, str]]:
    """Return the default and the memory of each line of the table, by what it is about."""
    return {what.strip(): (default.strip(), memory) for what, _, default, memory in ROW.findall(SIZING)}


def mib(memory: str) -> float:
    """Return the largest number of MiB in ``memory``."""
    return max(map(float, re.findall(r"(\d+(?:\.\d+)?) MiB", memory)))


def each(memory: str) -> float:
    """Return the bytes that one takes of what ``memory`` speaks of."""
    (found,) = re.findall(r"(\d+(?:\.\d+)?) KiB each", memory)
    return float(found) * 1024


def needed(config: Config) -> float:
    """Return the MiB that a process with ``config`` uses when everything is full."""
    table = rows()
    assert isinstance(config.identity, Keystone)
    fixed = (
        "the process itself, without requests",
        "tokens that were valid before",
        "header fields of the tokens used last",
        "heads that came before",
    )
    tokens = config.identity.cache.max_bytes * 9 / 8
    counters = config.limits.max_counters * each(table["counters of rates"][1])
    connections = config.server.max_connections * each(table["idle client connections"][1])
    stored = config.cache.max_bytes
    return sum(mib(table[what][1]) for what in fixed) + (tokens + counters + connections + stored) / MIB
