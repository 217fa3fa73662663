"""The command line: what starts metaproxy, what looks at a configuration, what operates a running one.

Each group of commands is a file with a ``register(application)`` function. ``GROUPS`` lists them in the
order of ``metaproxy --help``, with the commands of each, so that a command imports its own file and no
other: the model of the configuration alone takes longer to import than most commands take to run.
"""

import errno
import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Annotated, Final

import typer

from metaproxy.telemetry.descriptors import keep_descriptors
from metaproxy.version import __version__

GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "serve": ("serve",),
    "status": ("status",),
    "top": ("top",),
    "reload": ("reload", "log-level"),
    "purge": ("purge",),
    "tokens": ("hash-token", "revoke"),
    "limits": ("limits",),
    "configuration": ("check", "schema", "config"),
    "repose": ("import-repose",),
    "demo": ("demo",),
}
"""Files of this package, and the commands that each registers."""

CANNOT_WRITE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""The errors of a disk that takes no more output."""

VERSION: Final = f"metaproxy {__version__}"


def application(words: Sequence[str] = ()) -> typer.Typer:
    """Return the command line for ``words``: with the group that they name, or with every group."""
    app = typer.Typer(name="metaproxy", no_args_is_help=True, pretty_exceptions_enable=False)
    app.callback()(_options)
    for group in _groups(words):
        import_module(f"{__name__}.{group}").register(app)
    return app


def main() -> None:
    """The ``metaproxy`` command."""
    keep_descriptors()
    try:
        # `python -m metaproxy` has the same name, because shells complete that name.
        application(_words())(prog_name="metaproxy")
    except OSError as error:
        if error.errno not in CANNOT_WRITE or error.filename is not None:
            raise
        # The disk under standard output is full. A normal exit would flush, and fail again.
        print(f"metaproxy: cannot write the output: {error.strerror}", file=sys.stderr, flush=True)  # noqa: T201
        os._exit(1)


def _groups(words: Sequence[str]) -> Sequence[str]:
    """Return the groups that ``words`` need: one if a known command comes first, none for the version."""
    first = words[0] if words else ""
    if first == "--version":
        return ()
    named = [group for group, commands in GROUPS.items() if first in commands]
    return named or tuple(GROUPS)


def _words() -> Sequence[str]:
    """Return the arguments of this process, or those that a shell asks to complete."""
    if "_METAPROXY_COMPLETE" in os.environ:
        return os.environ.get("COMP_WORDS", os.environ.get("_TYPER_COMPLETE_ARGS", "")).split()[1:]
    return sys.argv[1:]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(VERSION)
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
) -> None:
    """Tokens checked, limits held, image metadata from memory."""
