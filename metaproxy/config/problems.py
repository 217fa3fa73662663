"""Problems of a configuration, in the form in which the operator gets them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from metaproxy.settings.section import KeyPath
from metaproxy.telemetry.console import escaped

Severity = Literal["error", "warning"]
Place = tuple[str, int, int]
"""File, line and column."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to mend: ``metaproxy.yaml:14: limits.rates[2].rate: a rate is …``.

    ``line`` and ``column`` count from 1; 0 means that the place is not known. ``key`` is "" if no key is
    meant. A warning does not stop the start. The message never holds a secret.
    """

    file: str
    line: int
    key: str
    message: str
    column: int = 0
    severity: Severity = "error"

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        kind = "warning" if self.severity == "warning" else ""
        # Keys and names of files are the file's own words: none may reach the terminal as a control.
        return escaped(": ".join(part for part in (place, self.key, kind, self.message) if part))


class ConfigError(Exception):
    """The configuration cannot be used; ``problems`` is everything that is wrong, by file and line."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = sorted(problems, key=lambda problem: (problem.file, problem.line))
        super().__init__("\n".join(map(str, self.problems)))


def dotted(path: KeyPath) -> str:
    """Return ``("limits", "rates", 2, "rate")`` as ``limits.rates[2].rate``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")
