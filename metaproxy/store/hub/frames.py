"""Frames: how a message goes over the socket between a worker and the hub.

A frame is the length of its content, a number, and the content. An answer has the number of its request. All
other messages of the hub have 0.
"""

import struct

HEAD = struct.Struct("!II")

MAX_FRAME_BYTES = 8 * 2**20
"""A purge may name ten thousand tags."""

MOST_NUMBERS = 2**32


class MessageError(ValueError):
    """Bytes that no other end of ours would send."""


def framed(number: int, content: bytes) -> bytes:
    """Return the frame of ``content``; raises MessageError if it is too long."""
    if len(content) > MAX_FRAME_BYTES:
        raise MessageError(f"a message of {len(content)} bytes is too long")
    return HEAD.pack(len(content), number) + content


class Frames:
    """Takes bytes as they come, and returns whole frames."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._begin = 0

    def __len__(self) -> int:
        """The number of bytes that were not returned yet."""
        return len(self._received) - self._begin

    def feed(self, received: bytes) -> None:
        """Take ``received``."""
        if self._begin:
            del self._received[: self._begin]
            self._begin = 0
        self._received += received

    def next(self) -> tuple[int, bytes] | None:
        """Return the number and the content of the next frame; None if it is not whole yet.

        Raises MessageError for one that is too long.
        """
        begin = self._begin + HEAD.size
        if len(self._received) < begin:
            return None
        length, number = HEAD.unpack_from(self._received, self._begin)
        if length > MAX_FRAME_BYTES:
            raise MessageError(f"a message of {length} bytes is too long")
        end = begin + length
        if len(self._received) < end:
            return None
        self._begin = end
        return number, bytes(self._received[begin:end])
