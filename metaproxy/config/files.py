"""The files that a configuration names, each read once.

All that is made of a configuration is made of the same bytes: a certificate that is replaced between two
reads, or between the reads of two processes, cannot come in halves.
"""

import errno
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

MAX_BYTES = 4 * 1024 * 1024
"""The most that is read of a file; a longer one is read to one byte more, so that its reader notices."""


@dataclass(slots=True)
class Files:
    """Reads files and keeps their content.

    All are equal, because two configurations are compared by their keys alone.

    Args:
        pipes: whether a pipe is read. Its content can be read only once, and opening it again waits for a
            writer that may never come.
    """

    pipes: bool = field(default=True, compare=False)

    _contents: dict[Path, bytes | OSError] = field(default_factory=dict, compare=False)

    def __iter__(self) -> Iterator[Path]:
        """Iterate over the paths that were asked for, also those that could not be read."""
        return iter(self._contents)

    def read(self, path: Path) -> bytes:
        """Return the content of ``path``, the same at each call; raises OSError."""
        path = Path(os.path.abspath(path))  # noqa: PTH100 - links stay as they are: they may be swapped
        if path not in self._contents:
            self._contents[path] = _read(path, pipes=self.pipes)
        content = self._contents[path]
        if isinstance(content, OSError):
            raise type(content)(content.errno, content.strerror, content.filename)
        return content

    def look_at(self, paths: Iterable[Path]) -> None:
        """Read ``paths`` now. A failure is raised when one of them is read again."""
        for path in paths:
            self.digest(path)

    def digest(self, path: Path) -> bytes | None:
        """Return the digest of the content of ``path``; None if it cannot be read."""
        try:
            return sha256(self.read(path)).digest()
        except OSError:
            return None

    def digests(self, paths: Iterable[Path | None]) -> tuple[bytes | None, ...]:
        """Return the digest of each of ``paths``; None also for a path that is None."""
        return tuple(None if path is None else self.digest(path) for path in paths)

    def are_as_in(self, other: "Files") -> bool:
        """Return True if every file that either names was read with the same content."""
        if not self._contents.keys() <= other._contents.keys():
            return False
        return all(self.digest(path) == other.digest(path) for path in tuple(other._contents))

    def keep(self, other: "Files", paths: Iterable[Path]) -> None:
        """Read ``paths`` now, and take what ``other`` has of those that are gone."""
        for path in paths:
            path = Path(os.path.abspath(path))  # noqa: PTH100, PLW2901 - as in ``read``
            if self.digest(path) is None and path in other._contents:
                self._contents[path] = other._contents[path]


def _read(path: Path, *, pipes: bool) -> bytes | OSError:
    try:
        if not pipes and path.is_fifo():
            return OSError(errno.ESPIPE, "a pipe can be read only once, at the start", str(path))
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        return error
    except ValueError as error:  # a NUL in the path
        return OSError(errno.EINVAL, str(error), str(path))
