"""Stored parts of an answer. They answer ranges, and are completed where the whole is wanted.

They have a type of their own: what sends a whole answer takes a ``Stored``, and so cannot be given parts.
"""

from dataclasses import dataclass, replace
from typing import Self

from metaproxy.cache.stored import Stored
from metaproxy.protocol.caching.parts import Segments

SEGMENT_BYTES = 160
"""The size of a segment without its bytes."""


@dataclass(frozen=True, slots=True, eq=False)
class Incomplete:
    """Parts of one answer to GET with a strong entity tag.

    ``head`` has everything but the content: its body is empty, its size that of the parts. ``segments`` are
    the bytes that are here, of ``length``.
    """

    head: Stored
    length: int
    segments: Segments

    @classmethod
    def of(cls, stored: Stored, length: int, segments: Segments) -> Self:
        """Return parts with the fields and the terms of ``stored``."""
        head = replace(stored, status=206, shown_status=206, detail="part")
        head.size += sum(len(body) + SEGMENT_BYTES for _, body in segments)
        return cls(head, length, segments)

    @property
    def tag(self) -> bytes:
        """The entity tag that the parts have in common."""
        return self.head.etag
