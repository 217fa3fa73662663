"""The way of every command to the terminal.

Clients, the upstream and whatever answers at the admin address choose a part of what the commands print. A
control character or a bidirectional mark in it must not reach the terminal, because it could hide or forge
what the operator reads.
"""

import typer

from metaproxy.telemetry.console import escaped


def say(text: str, *, err: bool = False, nl: bool = True) -> None:
    """Print ``text``; of the characters that are not printable it keeps line ends alone."""
    typer.echo(printable(text), err=err, nl=nl)


def printable(text: str) -> str:
    """Return ``text`` with all but printable characters and line ends as JSON escapes."""
    return "\n".join(escaped(line) for line in text.split("\n"))
