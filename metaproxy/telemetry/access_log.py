"""Lines, encoded and written in batches.

A line costs its request the making of a small object; it is encoded and written with others, when a
batch is full or from the event loop's timer. A line waits at most ``flush_seconds``,
and ``close`` writes the rest. A reader that is too slow, or gone, loses lines, never requests (see
``outlet``): they are counted in ``dropped``.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from metaproxy.telemetry.console import escaped, word
from metaproxy.telemetry.dates import timestamp
from metaproxy.telemetry.outlet import Feed, Outlet

Lines = Sequence[msgspec.Struct]

_encoder = msgspec.json.Encoder()


def encode_json(lines: Lines) -> bytes:
    """Return lines for machines: a JSON object each, with every character that is not printable escaped.

    JSON itself asks for no escape above U+001F, but terminals obey controls up to U+009F, and bidirectional
    marks turn a line around.
    """
    encoded = _encoder.encode_lines(lines)
    if encoded.isascii() and b"\x7f" not in encoded:
        return encoded
    return b"".join(escaped(line).encode() + b"\n" for line in encoded.decode().split("\n")[:-1])


def encode_console(lines: Lines) -> bytes:
    """Return lines for human eyes: ``key=value`` pairs, without what is empty.

    A value that could be read as anything else than one value is quoted, see ``console.quoted``.
    """
    return b"".join(_console_line(line) for line in lines)


def _console_line(line: msgspec.Struct) -> bytes:
    fields = ((name, getattr(line, name)) for name in line.__struct_fields__)
    words = (
        f"{name}={_word(name, value)}" for name, value in fields if value or isinstance(value, int | float)
    )
    return " ".join(words).encode() + b"\n"


def _word(name: str, value: Any) -> str:
    return timestamp(value) if name == "time" else word(value)


class AccessLog:
    """Writes access lines, and never waits for who reads them.

    Args:
        descriptor: where the lines go, or a feed of an outlet; standard output by default.
        encode: turns lines into bytes, the line ends included.
        flush_seconds: how old an unwritten line may become.
        batch_lines: how many lines make a batch: few enough that encoding them delays nobody,
            and that an empty pipe takes them in one write.
    """

    def __init__(
        self,
        descriptor: int | Feed = 1,
        *,
        encode: Callable[[Lines], bytes] = encode_json,
        flush_seconds: float = 0.2,
        batch_lines: int = 96,
    ) -> None:
        self._feed = Outlet(descriptor).feed() if isinstance(descriptor, int) else descriptor
        self._encode = encode
        self._flush_seconds = flush_seconds
        self._batch_lines = batch_lines
        self._lines: list[msgspec.Struct] = []
        self._timer: asyncio.TimerHandle | None = None

    @property
    def dropped(self) -> int:
        """How many lines were lost."""
        return self._feed.dropped

    def write(self, line: msgspec.Struct) -> None:
        """Take one line."""
        self._lines.append(line)
        if len(self._lines) >= self._batch_lines:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._flush_seconds, self.flush_old)

    def flush_old(self) -> None:
        """Write what has gathered since the timer was set."""
        self._timer = None
        self.flush()

    def flush(self) -> None:
        """Write what has gathered."""
        if not self._lines:
            return
        lines, self._lines = self._lines, []
        self._feed.write(self._encoded(lines))

    def _encoded(self, lines: Lines) -> bytes:
        """Encode what can be encoded: a line that is no text must not take the others with it."""
        try:
            return self._encode(lines)
        except UnicodeEncodeError:
            return b"".join(self._encoded_alone(line) for line in lines)

    def _encoded_alone(self, line: msgspec.Struct) -> bytes:
        try:
            return self._encode([line])
        except UnicodeEncodeError:
            self._feed.dropped += 1
            return b""

    async def start(self) -> None:
        """Nothing is begun: the first line sets the first timer."""

    async def close(self) -> None:
        """Write the rest."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.flush()
