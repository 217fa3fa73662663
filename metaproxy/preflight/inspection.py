"""The one function that ``check``, ``serve`` and a reload call, and what it returns."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from metaproxy.config import Config, ConfigError, Problem
from metaproxy.config.files import Files
from metaproxy.config.load import NO_OVERRIDES, Overrides, Reading, read_config
from metaproxy.preflight import addresses, dangers, named_files, oversights
from metaproxy.preflight.expressions import SECTIONS, backtracking
from metaproxy.preflight.machine import Machine, this_machine
from metaproxy.preflight.note import Note
from metaproxy.preflight.odd_paths import odd_paths
from metaproxy.preflight.unreachable import unreachable

Rule = tuple[tuple[str, ...], Callable[..., Iterator[Note]]]

RULES: tuple[Rule, ...] = (
    (("server",), named_files.listener_tls),
    (("upstream",), named_files.upstream_tls),
    (("identity",), named_files.identity_tls),
    (("store", "tracing", "identity"), named_files.extras),
    (("server", "admin"), addresses.overlaps),
    (("server", "admin"), addresses.on_this_machine),
    (("server", "admin", "upstream", "identity"), addresses.loops),
    (("identity", "store", "headers", "upstream"), dangers.clear_passwords),
    (("upstream", "identity"), dangers.unchecked_certificates),
    (("server", "admin", "identity", "limits", "cors"), dangers.open_doors),
    (("server", "limits"), dangers.peers_without_addresses),
    (("identity",), dangers.long_trust),
    (("server", "upstream", "cache", "limits", "identity"), dangers.above_the_machine),
    (("upstream", "limits"), oversights.early_tenants),
    (("identity",), oversights.identity_urls),
    (("identity", "cache"), oversights.nothing_to_share),
    (("identity", "store"), oversights.tokens_without_store),
    (("upstream",), oversights.targets_twice),
    (("identity",), oversights.expired_tokens),
    (("limits", "cors"), oversights.careless_expressions),
    (("server", "limits", "identity"), oversights.unknown_clients),
    *(((name,), backtracking(name)) for name in SECTIONS),
    (("identity", "authorization", "limits", "cache"), odd_paths),
    (("authorization", "limits", "cache"), unreachable),
)
"""Each rule with the sections that it reads: it is left out if one of them cannot be used."""


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that is to be said of a configuration file.

    Args:
        read: the configuration as it was read; None if it cannot be used.
        problems: errors and warnings, by file and line.
    """

    read: Config | None
    problems: tuple[Problem, ...]

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that stop the start."""
        return tuple(problem for problem in self.problems if problem.severity == "error")

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """The warnings: what is valid and dangerous."""
        return tuple(problem for problem in self.problems if problem.severity == "warning")

    @property
    def config(self) -> Config:
        """The configuration; raises ConfigError with all errors if there is one."""
        if self.read is None or self.errors:
            raise ConfigError(self.errors)
        return self.read


def inspect(
    path: Path,
    environ: Mapping[str, str] = os.environ,
    overrides: Overrides = NO_OVERRIDES,
    *,
    files: Files | None = None,
    content: bytes | None = None,
    machine: Machine | None = None,
) -> Report:
    """Read the configuration in ``path`` and look at all that it needs of this machine.

    Args:
        path: the file.
        environ: what ``${NAME}`` is taken from.
        overrides: values by section and key that go before those of the file.
        files: reads the file and all that it names.
        content: what to read in place of the file, as if it were in the working folder.
        machine: the limits of the machine; by default those of this one.
    """
    reading = read_config(path, environ, overrides, files, content)
    # A key with an error in it was left out of what the rules looked at.
    wrong = [problem.key for problem in reading.problems]
    found = [reading.document.problem(*note) for note in _notes(reading, machine or this_machine(environ))]
    found = [problem for problem in found if not any(key.startswith(problem.key) for key in wrong)]
    problems = sorted((*reading.problems, *found), key=lambda problem: (problem.file, problem.line))
    return Report(reading.config, tuple(dict.fromkeys(problems)))


def _notes(reading: Reading, machine: Machine) -> Iterator[Note]:
    for names, rule in RULES:
        if all(name in reading.sections for name in names):
            yield from rule(machine, *(reading.sections[name] for name in names))
    yield from named_files.open_secrets(reading)
    yield from named_files.open_key_files(reading)
