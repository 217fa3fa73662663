"""``metaproxy demo``."""

from typing import Annotated

import typer

Port = Annotated[int | None, typer.Option(min=1, max=65535, help="A free one by default.")]


def register(application: typer.Typer) -> None:
    """Add the command to ``application``."""
    application.command()(demo)


def demo(port: Port = None, admin_port: Port = None) -> None:
    """Run the proxy before a small compute API and identity service, and print curl lines to try."""
    from metaproxy.demo.run import main

    raise typer.Exit(main(port, admin_port))
