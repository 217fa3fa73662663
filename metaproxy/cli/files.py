"""The parts that commands which read a configuration share."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import typer

from metaproxy.cli.terminal import say
from metaproxy.config import Config, ConfigError, Problem, load_config
from metaproxy.preflight import Report, inspect

EXIT_BAD_CONFIG = 2


def load_or_exit(path: Path) -> Config:
    """Return the configuration in ``path``; else print every problem of the file itself and exit with 2.

    The files, extras and addresses that it names are not looked at.
    """
    try:
        return load_config(path)
    except ConfigError as error:
        print_problems(error.problems)
        raise typer.Exit(EXIT_BAD_CONFIG) from None


def inspect_or_exit(path: Path, overrides: Mapping[tuple[str, str], object]) -> Report:
    """Return the report on ``path`` if it can be served; else print every error and exit with 2.

    ``overrides`` are values by section and key that go before those of the file.
    """
    report = inspect(path, overrides=overrides)
    if report.errors:
        print_problems(report.errors)
        raise typer.Exit(EXIT_BAD_CONFIG)
    return report


def print_problems(problems: Iterable[Problem]) -> None:
    """Print ``problems`` on stderr, one a line."""
    for problem in problems:
        say(str(problem), err=True)
