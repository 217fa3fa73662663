"""Parts that a new configuration may keep from the one before."""

from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar


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


class Keeper:
    """Gives an application its parts: those of the application before it if they were made from the same."""

    def __init__(self, previous: "Keeper | None" = None) -> None:
        self._previous = previous._parts if previous is not None else {}
        self._parts: dict[str, Held[Any]] = {}

    def keep(self, name: str, made_from: object, make: Callable[[], P]) -> Held[P]:
        """Return the part ``name``: the one before if it was made from the same, else a new one."""
        held: Held[P] | None = self._previous.get(name)
        if held is None or held.made_from != made_from:
            held = Held(make(), made_from)
        self._parts[name] = held
        return held

    def kept(self, name: str) -> Any:
        """Return the part ``name`` if it is the one of the application before; else None."""
        held = self._parts.get(name)
        return held.part if held is not None and held is self._previous.get(name) else None

    def release(self) -> None:
        """Release the parts of the application before, because all parts of this one are there."""
        self._previous = {}
