"""The subject of the admin listener: the application that runs, which a reload may replace at any time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from metaproxy.app import Application


@dataclass(frozen=True, slots=True)
class ConfigState:
    """Which configuration is in use. Instants are seconds since the epoch.

    ``generation`` counts the configurations that were taken into use, the first among them.
    ``problems`` are the reasons for which the last reload changed nothing; none where it succeeded.
    """

    path: str
    generation: int
    loaded_at: float
    reloads_refused: int = 0
    refused_at: float = 0.0
    problems: tuple[str, ...] = ()
    needs_restart: tuple[str, ...] = ()
    """Sections that the file changes and that only a restart can take into use."""
    unchanged: bool = False
    """True if every file was as it had been before the last reload."""


TOLD_LATER = (
    "they are as soon as that is possible. Repeat the command only if this process ends, or takes another "
    "configuration into use, before that"
)
"""The end of an answer about a change that is done in this process and goes on to the others by itself."""


class ReloadRefused(Exception):
    """The configuration cannot be used; nothing has changed. ``problems`` says why, a line each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


class Service(Protocol):
    """A running metaproxy, as its operator sees it."""

    @property
    def application(self) -> Application:
        """The application that gets the next request."""
        ...

    @property
    def state(self) -> ConfigState:
        """The configuration in use."""
        ...

    @property
    def worker(self) -> int:
        """The number of this process among the workers, from 0."""
        ...

    async def reload(self) -> ConfigState:
        """Take the configuration file into use anew; raises ReloadRefused, and then nothing has changed."""
        ...
