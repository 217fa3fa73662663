"""The configuration in the making: values, where each came from, and what is to be told about the rest."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from metaproxy.config.repose.documents import Element

Path = tuple[str | int, ...]


class Reference(str):
    """A value that the configuration takes from the environment when it is loaded: ``${NAME}``."""

    __slots__ = ()


class Kind(StrEnum):
    """What a line of the report is about, most urgent first."""

    TO_DO = "to do"
    LEFT_OUT = "left out"
    DIFFERS = "differs"


@dataclass(frozen=True, slots=True)
class Note:
    """One line of the report: where, and what there is to know or to do."""

    kind: Kind
    place: str
    says: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.place}: {self.says}"


@dataclass(slots=True)
class Draft:
    """What the conversions write into.

    ``consumer`` is what stands for Repose's X-PP-User in rate rules; ``has_identity`` says whether
    tokens are checked; ``secrets`` are the environment variables that the configuration names.
    """

    data: dict[str, Any] = field(default_factory=dict)
    sources: dict[Path, str] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    consumer: str = "address"
    has_identity: bool = False
    secrets: list[str] = field(default_factory=list)

    def set(self, path: str, value: object, source: str) -> None:
        """Write ``value`` at ``path`` (``identity.cache.ttl``); ``source`` says where it came from."""
        keys = path.split(".")
        section = self.data
        for key in keys[:-1]:
            section = section.setdefault(key, {})
        section[keys[-1]] = value
        self.sources[tuple(keys)] = source

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

    def to_do(self, place: str, says: str) -> None:
        """Tell what the operator must do before the configuration can be used."""
        self.notes.append(Note(Kind.TO_DO, place, says))

    def left_out(self, place: str, says: str) -> None:
        """Tell what was not converted, why, and what to do instead."""
        self.notes.append(Note(Kind.LEFT_OUT, place, says))

    def differs(self, place: str, says: str) -> None:
        """Tell what was converted and behaves otherwise."""
        self.notes.append(Note(Kind.DIFFERS, place, says))

    def tell_unread(self, document: Element) -> None:
        """Tell of everything in ``document`` that no conversion has asked about."""
        for place in document.unread():
            self.left_out(place, "is not known to this conversion; see config/MIGRATING.md")
