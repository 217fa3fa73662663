"""``metaproxy reload`` and ``metaproxy log-level``: a running metaproxy changed without a restart."""

from enum import StrEnum
from typing import Annotated

import typer

from metaproxy.cli.admin import DEFAULT_URL, AdminUrl, change_or_exit
from metaproxy.cli.answers import LogLevel, Reloaded
from metaproxy.cli.terminal import say


class Level(StrEnum):
    """The least level that is written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def register(application: typer.Typer) -> None:
    """Add the commands to ``application``."""
    application.command()(reload)
    application.command("log-level")(log_level)


def reload(url: AdminUrl = DEFAULT_URL) -> None:
    """Take the configuration file into use anew; a bad file changes nothing, and exits 1 with its errors."""
    answer = change_or_exit(url, "/reload", {}, Reloaded)
    same = "; its files are as they were when they were last read" if answer.get("unchanged", False) else ""
    say(f"{answer['path']}: generation {answer['generation']} is in use{same}")
    for key in answer["needs_restart"]:
        say(f"{key}: a restart is needed to take the change into use", err=True)


def log_level(
    level: Annotated[Level, typer.Argument(help="The least level that is written.")],
    url: AdminUrl = DEFAULT_URL,
) -> None:
    """Change the level of the event log until the next reload or restart."""
    say(change_or_exit(url, "/logging", {"level": level.value}, LogLevel)["level"])
