"""Small values that replicas share: bytes by name, each for a while."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Reading(NamedTuple):
    """The values that were asked for, each None if there is none that can be read."""

    values: Sequence[bytes | None]
    time: float
    """The time of the store's own clock, in seconds since the epoch."""


class SharedValues(Protocol):
    """Values that several processes share. Every method may raise OSError."""

    async def read(self, names: Sequence[str]) -> Reading:
        """Return the values of ``names``; a value that is too large is cut off."""
        ...

    async def write(self, name: str, value: bytes, seconds: float) -> None:
        """Store ``value`` for ``seconds``."""
        ...

    async def remove(self, names: Sequence[str]) -> None:
        """Remove the values of ``names``."""
        ...
