"""One line a request, written in batches.

A line costs the request its encoding; the write happens once per batch, from the event loop's timer
or when a batch is full. What is not yet written is at most ``flush_seconds`` old, and ``close`` writes
the rest. A reader that is too slow loses lines, never requests: they are counted in ``dropped``.
"""

import asyncio
import os
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

Fields = Mapping[str, Any]

encode_json = msgspec.json.Encoder().encode


def encode_console(fields: Fields) -> bytes:
    """Return a line for human eyes: ``key=value`` pairs."""
    return " ".join(
        f"{name}={value}" for name, value in fields.items() if value not in ("", None, {})
    ).encode()


class AccessLog:
    """Writes access lines to a file descriptor.

    Args:
        descriptor: where the lines go; standard output by default.
        encode: turns the fields of one line into bytes.
        flush_seconds: how old an unwritten line may become.
        batch_bytes: how many bytes make a batch.
    """

    def __init__(
        self,
        descriptor: int = 1,
        *,
        encode: Callable[[Fields], bytes] = encode_json,
        flush_seconds: float = 0.2,
        batch_bytes: int = 65536,
    ) -> None:
        self._descriptor = descriptor
        self._encode = encode
        self._flush_seconds = flush_seconds
        self._batch_bytes = batch_bytes
        self._lines: list[bytes] = []
        self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self.dropped = 0

    def write(self, fields: Fields) -> None:
        """Take one line."""
        line = self._encode(fields)
        self._lines.append(line)
        self._bytes += len(line) + 1
        if self._bytes >= self._batch_bytes:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._flush_seconds, self.flush)

    def flush(self) -> None:
        """Write what has gathered."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._lines:
            return
        lines, self._lines, self._bytes = self._lines, [], 0
        remaining = memoryview(b"\n".join(lines) + b"\n")
        try:
            while remaining:
                remaining = remaining[os.write(self._descriptor, remaining) :]
        except OSError:
            self.dropped += len(lines)

    def close(self) -> None:
        """Write the rest."""
        self.flush()
