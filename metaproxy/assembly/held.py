"""Parts that a new configuration may keep from the one before."""

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar


class Resource(Protocol):
    """Something with a life: started before the first request, closed after the last."""

    async def start(self) -> None:
        """Begin."""
        ...

    async def close(self) -> None:
        """End."""
        ...


P = TypeVar("P", bound=Resource)


class Held(Generic[P]):
    """A part that several applications may hold: started by the first, closed after the last.

    ``made_from`` is what it was made from: where a new configuration says the same, the part is kept,
    with all that it has learnt.
    """

    def __init__(self, part: P, made_from: object) -> None:
        self.part = part
        self.made_from = made_from
        self._holders = 0

    async def start(self) -> None:
        """One more application holds the part."""
        self._holders += 1
        if self._holders == 1:
            await self.part.start()

    async def close(self) -> None:
        """One application less holds the part."""
        self._holders -= 1
        if self._holders == 0:
            await self.part.close()


def kept(previous: "Held[P] | None", made_from: object, make: Callable[[], P]) -> "Held[P]":
    """Return ``previous`` where it was made from the same, else a new part."""
    if previous is not None and previous.made_from == made_from:
        return previous
    return Held(make(), made_from)
