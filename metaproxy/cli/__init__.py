"""The command line: what starts metaproxy, what looks at a configuration, what operates a running one.

Each group of commands is a file with a ``register(application)`` function; ``GROUPS`` lists them in
the order of ``metaproxy --help``.
"""

from typing import Annotated

import typer

from metaproxy.cli import configuration, demo, limits, purge, reload, repose, serve, status, tokens, top
from metaproxy.version import __version__

GROUPS = (serve, status, top, reload, purge, tokens, limits, configuration, repose, demo)


def application() -> typer.Typer:
    """Return the command line with every group registered."""
    app = typer.Typer(
        name="metaproxy",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_options)
    for group in GROUPS:
        group.register(app)
    return app


def main() -> None:
    """The ``metaproxy`` command."""
    application()()


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"metaproxy {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
) -> None:
    """Tokens checked, limits held, image metadata from memory."""
