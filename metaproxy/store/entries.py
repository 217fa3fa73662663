"""Stored answers that replicas share: bytes by key, valid for as long as none of their tags is forgotten.

Every tag has a generation. An entry carries the generations of its tags as they were before its content was
fetched, and counts only while they are the same.

The data of a store may go back in time: a copy is restored, databases are swapped, a proxy leads to another
server. Then entries count again that were forgotten. So the store counts how often it has forgotten, and each
process remembers the highest number: a store with a lower one is behind, and is emptied before it is used.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

Generations = tuple[bytes, ...]

EVERYTHING = "everything"
"""The tag of every stored answer."""

MOST_TIMES = 2**53
"""The highest number of times that a Lua number counts to."""


@dataclass(frozen=True, slots=True)
class Found:
    """An answer of the store: the entry's content, or None; and the generations that a new one must carry."""

    content: bytes | None
    generations: Generations


class SharedEntries(Protocol):
    """Entries that several processes share. Every method may raise OSError."""

    times: int
    """How often entries were forgotten, as far as this process knows."""

    async def get(self, key: bytes, tags: Sequence[str]) -> Found:
        """Return the entry under ``key``, if it counts; ``tags`` are those it was stored with."""
        ...

    async def put(self, key: bytes, content: bytes, found: Found, seconds: float) -> None:
        """Store ``content`` for ``seconds``; ``found`` is what ``get`` said before it was fetched."""
        ...

    async def forget(self, tags: Sequence[str]) -> None:
        """Let no entry with any of ``tags`` count from now on."""
        ...
