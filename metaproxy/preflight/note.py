"""One thing that the preflight finds."""

from typing import NamedTuple

from metaproxy.config.problems import Severity
from metaproxy.settings.section import KeyPath


class Note(NamedTuple):
    """A key, a sentence about it, and whether it stops the start."""

    path: KeyPath
    message: str
    severity: Severity = "error"


def warning(path: KeyPath, message: str) -> Note:
    """Return a note about what is valid and dangerous."""
    return Note(path, message, "warning")
