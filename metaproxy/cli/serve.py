"""``metaproxy serve``."""

from pathlib import Path
from typing import Annotated

import typer

from metaproxy.cli.files import inspect_or_exit


def register(application: typer.Typer) -> None:
    """Add the command to ``application``."""
    application.command()(serve)


def serve(
    config: Annotated[Path, typer.Option("--config", "-c", help="The configuration file.")],
    workers: Annotated[
        int | None, typer.Option(min=1, max=256, help="Processes, in place of server.workers.")
    ] = None,
    watch: Annotated[
        bool, typer.Option(help="Take changes of the file into use; SIGHUP and `metaproxy reload` always do.")
    ] = True,
) -> None:
    """Run the proxy until SIGTERM or Ctrl-C."""
    report = inspect_or_exit(config, {("server", "workers"): workers} if workers else {})
    from metaproxy.server import run

    raise typer.Exit(run(report.config, config, watch=watch, warnings=report.warnings))
