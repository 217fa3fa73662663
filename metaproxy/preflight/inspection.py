"""The one function that ``check``, ``serve`` and a reload call, and what it returns."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from metaproxy.config import Config, ConfigError, Problem
from metaproxy.config.files import Files
from metaproxy.config.load import NO_OVERRIDES, Overrides, read_config
from metaproxy.preflight import addresses, dangers, named_files, oversights
from metaproxy.preflight.expressions import backtracking
from metaproxy.preflight.machine import Machine, this_machine
from metaproxy.preflight.note import Note
from metaproxy.preflight.unreachable import odd_paths, unreachable
from metaproxy.settings.section import ask

RULES: tuple[Callable[..., Iterator[Note]], ...] = (
    named_files.listener_tls,
    named_files.upstream_tls,
    named_files.identity_tls,
    named_files.extras,
    addresses.overlaps,
    addresses.on_this_machine,
    addresses.loops,
    dangers.clear_passwords,
    dangers.unchecked_certificates,
    dangers.open_doors,
    dangers.peers_without_addresses,
    dangers.long_trust,
    dangers.above_the_machine,
    oversights.early_tenants,
    oversights.identity_urls,
    oversights.nothing_to_share,
    oversights.tokens_without_store,
    oversights.targets_twice,
    oversights.expired_tokens,
    oversights.careless_expressions,
    oversights.unknown_clients,
    backtracking,
    odd_paths,
    unreachable,
    named_files.open_secrets,
    named_files.open_key_files,
)
"""The parameters of a rule name the sections that it reads: it is left out if one of them cannot be used."""


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
        environ: what ``${NAME}`` is taken from.
        overrides: values by section and key that go before those of the file.
        files: reads the file and all that it names.
        content: what to read in place of the file, as if it were in the working folder.
        machine: the limits of the machine; by default those of this one.
    """
    reading = read_config(path, environ, overrides, files, content)
    # A key with an error in it was left out of what the rules looked at.
    wrong = [problem.key for problem in reading.problems]
    known = {**reading.sections, "machine": machine or this_machine(environ), "reading": reading}
    found = [reading.document.problem(*note) for note in ask(RULES, known)]
    found = [problem for problem in found if not any(key.startswith(problem.key) for key in wrong)]
    problems = sorted((*reading.problems, *found), key=lambda problem: (problem.file, problem.line))
    return Report(reading.config, tuple(dict.fromkeys(problems)))
