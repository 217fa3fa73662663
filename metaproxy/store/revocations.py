"""Recorded revocations: what replicas have revoked, for those that were away when it was announced."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

KEPT_SECONDS = 86_400.0
"""How long a revocation is kept: no token should live longer."""

MAX_RECORDED = 10_000


class Recorded(NamedTuple):
    """One revocation as it is sent to other processes, and the seconds since it was made."""

    payload: bytes
    age: float


class Record(NamedTuple):
    """The revocations that were recorded since the last reading."""

    entries: Sequence[Recorded]
    is_whole: bool
    """True if nothing that was recorded since the last reading has been lost."""
    is_everything: bool
    """True if these are all that are recorded, older ones too."""
    life: bytes = b""
    """A word that changes if the record was lost, or may have lost its last entries."""


class RevocationRecord(Protocol):
    """A record of revocations for other processes. Every method may raise OSError."""

    async def add(self, entries: Sequence[Recorded]) -> None:
        """Record ``entries``."""
        ...

    async def read(self) -> Record:
        """Return what was recorded since the last reading, at the first everything that is kept."""
        ...
