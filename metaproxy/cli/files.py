"""What commands that read a configuration share."""

from collections.abc import Mapping
from pathlib import Path

import typer

from metaproxy.config import Config, ConfigError, load_config

EXIT_BAD_CONFIG = 2


def load_or_exit(path: Path, overrides: Mapping[tuple[str, str], object] | None = None) -> Config:
    """Return the configuration in ``path``; else tell every problem on stderr, one a line, and exit with 2.

    ``overrides`` are values by section and key that go before those of the file.
    """
    try:
        return load_config(path, overrides=overrides or {})
    except ConfigError as error:
        for problem in error.problems:
            typer.echo(str(problem), err=True)
        raise typer.Exit(EXIT_BAD_CONFIG) from None
