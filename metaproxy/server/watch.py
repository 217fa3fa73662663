"""Noticing that a file has changed that the configuration names, or the configuration itself.

The files are read again and again, and their content is compared. So it does not matter how a file changes:
written in place, renamed over, behind a symbolic link that is swapped (Kubernetes, certbot), on a file system
that reports no changes, or in a folder that did not exist before. A look at eight small files costs less than
a millisecond. A file that is missing for a moment is not a change, because it is about to be replaced. One
that stays away is: a reload is tried, is refused, and says what a restart would fail on.
"""

import os
import stat
import time
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from metaproxy.config.files import MAX_BYTES, Files

LOOK_SECONDS = 1.0
"""Time between two looks."""
SETTLE_SECONDS = 0.25
"""How long the content must have been the same before it is taken: editors write in several steps."""
LONGEST_UNREST_SECONDS = 10.0
"""When the content is taken although it still changes."""

GONE_SECONDS = 10.0
"""How long a file must have been missing to count as gone."""

Digests = dict[Path, bytes | None]


class Reader(Protocol):
    """Reads a configuration; see ``Source``."""

    @property
    def files(self) -> Files:
        """The content that was read last, also if it was refused."""
        ...


class Watch:
    """Compares files with what was read of them. The caller waits for ``pause`` between two looks."""

    def __init__(self, source: Reader, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: Digests | None = None
        self._unrest_since = 0.0
        self._source = source
        self._files: Files | None = None
        self._known: Digests = {}
        self._missing_since: dict[Path, float] = {}

    @property
    def pause(self) -> float:
        """Seconds until the next look."""
        return LOOK_SECONDS if self._seen is None else SETTLE_SECONDS

    def look(self) -> bool:
        """Return whether a file has changed, and has been as it is now for two looks."""
        if self._files is not self._source.files:
            self._files = self._source.files
            self._known = {path: self._files.digest(path) for path in self._files}
            self._seen = None
            self._missing_since.clear()
        now = self._now(self._known)
        if now == self._known:
            self._seen = None
            return False
        if self._seen is None:
            self._unrest_since = self._clock()
        settled = now == self._seen or self._clock() - self._unrest_since > LONGEST_UNREST_SECONDS
        self._seen = now
        return settled

    def _now(self, paths: Iterable[Path]) -> Digests:
        """The digests as they are now; of a file that has just gone, the one that is known."""
        return {path: digest(path) or self._of_missing(path) for path in paths}

    def _of_missing(self, path: Path) -> bytes | None:
        now = self._clock()
        if path.exists() or path.is_relative_to("/dev") or path.is_relative_to("/proc"):
            self._missing_since[path] = now  # a pipe, which was read once
        is_gone = now - self._missing_since.setdefault(path, now) >= GONE_SECONDS
        return None if is_gone else self._known[path]


def digest(path: Path) -> bytes | None:
    """Return the digest of the content of ``path``; None if it is not a file that can be read to its end."""
    try:
        # Without waiting: a pipe without a writer would block, and reading takes away what it holds.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        with os.fdopen(descriptor, "rb") as file:
            is_regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
            return sha256(file.read(MAX_BYTES + 1)).digest() if is_regular else None
    except OSError:
        return None
