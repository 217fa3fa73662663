"""``metaproxy import-repose``: the way out of Repose."""

import os
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from metaproxy.cli.files import EXIT_BAD_CONFIG
from metaproxy.cli.terminal import say
from metaproxy.config import ConfigError, load_config
from metaproxy.config.repose import Imported, ReposeError, import_folder

Folder = Annotated[
    Path,
    typer.Argument(metavar="DIR", help="Repose's folder, with system-model.cfg.xml.", show_default=False),
]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Write here, not to standard output.")]


AcceptOpen = Annotated[
    list[str] | None,
    typer.Option(
        "--accept-open",
        metavar="NAME",
        help="Start without the guard NAME, or without all guards of the filter NAME. May be repeated.",
    ),
]

MISSING = "imported.not_converted"
"""The key that names what was not converted."""

CLOSED = """\
metaproxy: not converted: {names}
The file does not start while imported.not_converted names any of them. Write what does the work of each,
then take its name out. To do without one on purpose: --accept-open {first}"""

UNSET = """\
metaproxy: converted; `metaproxy check` and `serve` refuse the file until these variables are set: {names}"""


def register(application: typer.Typer) -> None:
    """Add the command to ``application``."""
    application.command("import-repose")(import_repose)


def import_repose(folder: Folder, output: Output = None, accept_open: AcceptOpen = None) -> None:
    """Convert Repose's configuration; tell on standard error what differs and what is left to do.

    Exits 0 if every guard was converted, or is named by --accept-open, and the result passes `metaproxy
    check` as soon as what the report lists as `to do` is done: variables are set, certificates are there.
    Else 2, and the file does not start. An existing file is not overwritten.
    """
    try:
        imported = import_folder(folder, accept_open or ())
    except (ReposeError, OSError) as error:
        say(f"metaproxy: {error}", err=True)
        raise typer.Exit(EXIT_BAD_CONFIG) from None
    _write(imported.yaml, output)
    for note in imported.notes:
        say(str(note), err=True)
    problems = _problems(imported)
    for problem in problems:
        say(f"to do: {problem}", err=True)
    if names := imported.not_converted:
        say(CLOSED.format(names=", ".join(names), first=names[0]), err=True)
    if names or problems:
        raise typer.Exit(EXIT_BAD_CONFIG)
    if unset := [name for name in dict.fromkeys(imported.secrets) if name not in os.environ]:
        say(UNSET.format(names=", ".join(unset)), err=True)


def _write(text: str, output: Path | None) -> None:
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        say(f"metaproxy: {error}", err=True)
        raise typer.Exit(EXIT_BAD_CONFIG) from None


def _problems(imported: Imported) -> list[str]:
    """Return what ``metaproxy check`` would say once the variables that the report names are set."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "metaproxy.yaml"
        file.write_text(imported.yaml, encoding="utf-8")
        try:
            load_config(file, environ={**dict.fromkeys(imported.secrets, "secret"), **os.environ})
        except ConfigError as error:
            return [
                str(problem).removeprefix(f"{folder}/")
                for problem in error.problems
                if not problem.key.startswith(MISSING)
            ]
    return []
