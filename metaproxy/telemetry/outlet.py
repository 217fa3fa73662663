"""Lines to a file descriptor, without ever waiting for who reads them.

Lines wait in memory, up to a bound; what does not fit is dropped, counted and reported. Lines are written in
pieces that the channel takes whole. The rest of a line that was longer, or that a full disk has cut, is
written before any other line.
"""

import asyncio
import os
import threading
import time
from collections import deque
from collections.abc import Callable

from metaproxy.telemetry.channel import PIECE_BYTES, Channel, channel_to

MAX_BYTES = 4 * 1024 * 1024
"""Lines that wait for a slow reader, in bytes. Further lines are dropped."""
RESERVE_BYTES = 64 * 1024
"""Room beyond ``MAX_BYTES`` for the few events that say that lines are dropped."""

FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS = 0.005, 0.1
DRAIN_LOOK_SECONDS = 0.01

NEWLINE = 10

SLOW_READER = "the reader is too slow"

Report = Callable[["Feed"], None]


def _no_report(feed: "Feed") -> None:
    """Report nothing."""


class Feed:
    """One of the logs that an outlet carries.

    ``dropped`` counts the lines that were lost, for good; ``missing`` those since the last that was written.

    Args:
        name: the log, as the metric names it.
        reserve: bytes that this log may add where the outlet is full.
        report: is called when lines begin to be dropped, and when lines are written again.
    """

    def __init__(
        self, outlet: "Outlet", name: str = "", *, reserve: int = 0, report: Report = _no_report
    ) -> None:
        self.outlet = outlet
        self.name = name
        self.reserve = reserve
        self.report = report
        self.dropped = 0
        self.missing = 0
        self.reason = ""
        """Why lines are dropped now; "" while they are written."""

    def write(self, data: bytes) -> None:
        """Write whole lines now or later, or drop them. Never waits, never raises."""
        self.outlet.write(self, data)

    def drop(self, lines: int, reason: str) -> None:
        """Count ``lines`` as lost."""
        self.dropped += lines
        self.missing += lines
        if not self.reason:
            self.reason = reason
            self.report(self)

    def recovered(self) -> None:
        """Note that lines are written again."""
        if self.reason:
            self.reason = ""
            self.report(self)
            self.missing = 0


class Outlet:
    """A file descriptor that lines are written to. Bounded in bytes; several threads may use it.

    Args:
        max_bytes: how much may wait for the reader.
    """

    def __init__(self, descriptor: int, *, max_bytes: int = MAX_BYTES) -> None:
        self._descriptor = descriptor
        self._opened: Channel | None = None
        self._max_bytes = max_bytes
        self._waiting: deque[tuple[Feed, memoryview]] = deque()
        self._waiting_bytes = 0
        self._is_inside_a_line = self._is_failing = False
        self._feeds: list[Feed] = []
        self._lock = threading.RLock()
        self._is_pushing = False
        self._retry_loop: asyncio.AbstractEventLoop | None = None
        self._retry_seconds = FIRST_RETRY_SECONDS

    @property
    def waiting_bytes(self) -> int:
        """The size of the lines that wait for the reader."""
        return self._waiting_bytes

    def feed(self, name: str = "", *, reserve: int = 0, report: Report = _no_report) -> Feed:
        """Return a log that writes here."""
        feed = Feed(self, name, reserve=reserve, report=report)
        self._feeds.append(feed)
        return feed

    def write(self, feed: Feed, data: bytes) -> None:
        """Write the lines ``data`` of ``feed`` now or later, or drop them."""
        with self._lock:
            if not self._has_room(feed, data):
                self.push()  # the reader may be back
            if not self._has_room(feed, data):
                feed.drop(data.count(b"\n"), SLOW_READER)
                return
            self._waiting.append((feed, memoryview(data)))
            self._waiting_bytes += len(data)
            self.push()

    def push(self) -> bool:
        """Write what can be written without waiting; return whether nothing is left."""
        with self._lock:
            # A report, or a signal handler, may log in the middle of a write. Its line takes its turn.
            if self._is_pushing:
                return False
            self._is_pushing = True
            try:
                self._push()
            finally:
                self._is_pushing = False
            if self._waiting:
                self._retry_later()
                return False
            if self._is_failing:
                return True
            for feed in self._feeds:
                feed.recovered()
            return True

    def drain(self, seconds: float) -> None:
        """Write what waits, for at most ``seconds``."""
        deadline = time.monotonic() + seconds
        while not self.push() and time.monotonic() < deadline:
            time.sleep(DRAIN_LOOK_SECONDS)

    def forget(self) -> None:
        """Drop what waits, uncounted: a process that was forked has a copy of what its parent writes."""
        self._lock = threading.RLock()
        self._is_pushing = self._is_inside_a_line = False
        self._waiting.clear()
        self._waiting_bytes = 0
        self._retry_loop = None

    def _has_room(self, feed: Feed, data: bytes) -> bool:
        return self._waiting_bytes + len(data) <= self._max_bytes + feed.reserve

    def _push(self) -> None:
        if self._opened is None:
            self._opened = channel_to(self._descriptor)
        channel = self._opened
        if not self._waiting or not channel.acquire():
            return
        try:
            while self._waiting and self._write_first(channel):
                pass
        except OSError as error:
            self._fail(os.strerror(error.errno) if error.errno else str(error))
        if not self._is_inside_a_line:
            channel.release()

    def _write_first(self, channel: Channel) -> bool:
        """Write a piece of the first lines; return whether the reader may take more. Raises OSError."""
        feed, lines = self._waiting[0]
        fits = channel.takes_all or len(lines) <= PIECE_BYTES
        piece = lines if fits else _piece(lines, channel.most_bytes())
        try:
            written = channel.write(piece)
        except BlockingIOError:
            return False
        self._is_inside_a_line, self._is_failing = piece[written - 1] != NEWLINE, False
        self._retry_seconds = FIRST_RETRY_SECONDS
        self._waiting_bytes -= written
        if written == len(lines):
            self._waiting.popleft()
        else:
            self._waiting[0] = feed, lines[written:]
        return True

    def _fail(self, reason: str) -> None:
        """Drop what waits, except the rest of a line that is written in part."""
        lost, self._waiting, self._waiting_bytes, self._is_failing = self._waiting, deque(), 0, True
        if self._is_inside_a_line:
            feed, lines = lost[0]
            end = bytes(lines).find(b"\n") + 1
            lost[0] = feed, lines[end:]
            self._waiting.append((feed, lines[:end]))
            self._waiting_bytes = end
        for feed, lines in lost:
            if lines:
                feed.drop(bytes(lines).count(b"\n"), reason)

    def _retry_later(self) -> None:
        """Write again in a moment, if an event loop runs here; else with the next line."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        if self._retry_loop is not loop:
            self._retry_loop = loop
            loop.call_later(self._retry_seconds, self._retry)
            self._retry_seconds = min(2 * self._retry_seconds, LAST_RETRY_SECONDS)

    def _retry(self) -> None:
        self._retry_loop = None
        self.push()


def _piece(lines: memoryview, most: int) -> memoryview:
    """Return as many whole lines as have ``most`` bytes; a longer line alone."""
    if len(lines) <= most:
        return lines
    end = bytes(lines[:most]).rfind(b"\n") + 1
    return lines[: end or bytes(lines).find(b"\n") + 1]
