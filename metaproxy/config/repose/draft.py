"""The configuration in the making: values, where each came from, and what is to be said about the rest."""

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from metaproxy.config.repose.documents import PADDED, Element

Path = tuple[str | int, ...]

UNKNOWN = "is not known to this conversion, so it may have refused something"


class Reference(str):
    """A value that the configuration takes from the environment when it is loaded: ``${NAME}``."""

    __slots__ = ()


class Kind(StrEnum):
    """The subject of a line of the report, most urgent first."""

    NOT_CONVERTED = "not converted"
    OPEN = "open"
    TO_DO = "to do"
    LEFT_OUT = "left out"
    DIFFERS = "differs"


@dataclass(frozen=True, slots=True)
class Note:
    """One line of the report: where, and what there is to know or to do.

    ``guard`` is the name of what was not converted, else "".
    """

    kind: Kind
    place: str
    says: str
    guard: str = ""

    def __str__(self) -> str:
        guard = f"{self.guard}: " if self.guard else ""
        return f"{self.kind}: {guard}{self.place}: {self.says}"


@dataclass(slots=True)
class Draft:
    """The draft that the conversions write into.

    ``groups`` says where groups of users come from: none, identity, federated or address.
    ``consumer`` is what stands for Repose's X-PP-User in rate rules; ``has_identity`` says whether
    tokens are checked; ``secrets`` are the environment variables that the configuration names.
    ``accepted`` are names of guards, or of filters, that the operator wants left open; ``used`` those of
    them that were found. ``delegations`` are the filters that pass refused requests on, with their places;
    ``ignored_roles`` are roles of a token that no filter sees.
    """

    accepted: frozenset[str] = frozenset()
    used: set[str] = field(default_factory=set)
    data: dict[str, Any] = field(default_factory=dict)
    sources: dict[Path, str] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    groups: str = "none"
    consumer: str = "address"
    has_identity: bool = False
    secrets: list[str] = field(default_factory=list)
    delegations: dict[str, str] = field(default_factory=dict)
    ignored_roles: set[str] = field(default_factory=set)

    def set(self, path: str, value: object, source: str) -> None:
        """Write ``value`` at ``path`` (``identity.cache.ttl``); ``source`` says where it came from."""
        keys = path.split(".")
        section = self.data
        for key in keys[:-1]:
            section = section.setdefault(key, {})
        section[keys[-1]] = value
        self.sources[tuple(keys)] = source

    def get(self, path: str) -> Any:
        """Return what was written at ``path``, or None."""
        section: Any = self.data
        for key in path.split("."):
            section = section.get(key) if isinstance(section, dict) else None
        return section

    def add(self, path: str, value: object, source: str) -> None:
        """Append ``value`` to the list at ``path``."""
        keys = path.split(".")
        section = self.data
        for key in keys[:-1]:
            section = section.setdefault(key, {})
        items = section.setdefault(keys[-1], [])
        self.sources[*keys, len(items)] = source
        items.append(value)

    def secret(self, path: str, variable: str, source: str) -> None:
        """Let the value at ``path`` come from the environment: no secret is copied from file to file."""
        self.set(path, Reference(f"${{{variable}}}"), f"{source}; not copied")
        self.secrets.append(variable)
        self.to_do(source, f"set the environment variable {variable} to it")

    def not_converted(self, guard: str, place: str, says: str) -> bool:
        """Report a guard of Repose's without an exact equivalent; the result does not start.

        ``says`` tells what Repose did and what is open without it. Returns True if the operator accepts that
        by name, ``guard`` or the filter before its slash.
        """
        guard = "/".join(
            re.sub(r"[^A-Za-z0-9._-]+", "-", part).strip("-") or "x" for part in guard.split("/")
        )
        names = {guard, guard.partition("/")[0]} & self.accepted
        self.used |= names
        self.notes.append(Note(Kind.OPEN if names else Kind.NOT_CONVERTED, place, says, guard))
        return bool(names)

    def closing(self) -> list[Note]:
        """Return the notes because of which the result does not start."""
        return [note for note in self.notes if note.kind is Kind.NOT_CONVERTED]

    def to_do(self, place: str, says: str) -> None:
        """Report what the operator must do before the configuration can be used."""
        self.notes.append(Note(Kind.TO_DO, place, says))

    def left_out(self, place: str, says: str) -> None:
        """Report what was not converted, and why nothing that Repose refused gets through without it."""
        self.notes.append(Note(Kind.LEFT_OUT, place, says))

    def differs(self, place: str, says: str) -> None:
        """Report what was converted and behaves otherwise, without letting more through."""
        self.notes.append(Note(Kind.DIFFERS, place, says))

    def tell_unread(self, document: Element, guard: str) -> None:
        """Report everything in ``document`` that no conversion has asked about: it may be a guard."""
        for unread in document.unread():
            says = PADDED if unread.is_padded else UNKNOWN
            self.not_converted(f"{guard}/{unread.name}", unread.place, says)
