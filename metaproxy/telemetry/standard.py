"""The process's standard output and standard error, neither of which the process ever waits for.

``output`` carries the access log and ``errors`` the event log. Both may be the same pipe; it then has one
outlet, so that a line of one log does not end up inside a line of the other.
"""

import logging
import os
import sys
import threading
import types
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from io import TextIOBase

import structlog

from metaproxy.telemetry.descriptors import STANDARD_ERROR, STANDARD_OUTPUT, keep_descriptors
from metaproxy.telemetry.metrics import Labels, Metrics
from metaproxy.telemetry.outlet import RESERVE_BYTES, Feed, Outlet

DRAIN_SECONDS = 0.5

logger = structlog.get_logger("metaproxy")


@cache
def output() -> Feed:
    """Return the access log's way to standard output."""
    return _outlet(STANDARD_OUTPUT).feed("access", report=_report)


@cache
def errors() -> Feed:
    """Return the event log's way to standard error."""
    return _outlet(STANDARD_ERROR).feed("event", reserve=RESERVE_BYTES, report=_report)


def count_drops(metrics: Metrics) -> None:
    """Show in ``metrics`` how many lines were lost."""
    metrics.total(
        "metaproxy_log_lines_dropped",
        "Lines of a log that were lost: its reader was too slow or gone, or its disk was full.",
        ("log",),
        _drops,
    )


def drain() -> None:
    """Write what still waits for its reader, for a moment at most."""
    for feed in (output(), errors()):
        feed.outlet.drain(DRAIN_SECONDS / 2)


class LineStream(TextIOBase):
    """A text stream, such as ``sys.stderr``, that writes whole lines to ``feed``."""

    def __init__(self, feed: Feed, descriptor: int) -> None:
        super().__init__()
        self._feed = feed
        self._descriptor = descriptor
        self._begun = ""

    def writable(self) -> bool:
        """Say that this stream can be written to."""
        return True

    def fileno(self) -> int:
        """Return the descriptor, for what writes to it directly."""
        return self._descriptor

    def isatty(self) -> bool:
        """Say whether the lines go to a terminal."""
        return os.isatty(self._descriptor)

    def write(self, text: str) -> int:
        """Take ``text``; write its lines as soon as they are complete."""
        lines, newline, self._begun = (self._begun + text).rpartition("\n")
        if newline:
            self._feed.write((lines + newline).encode(errors="backslashreplace"))
        return len(text)

    def flush(self) -> None:
        """Write the line that has begun."""
        if self._begun:
            self.write("\n")


@contextmanager
def taken_over() -> Iterator[None]:
    """Let nothing in this process wait for a reader of its output, and every error become an event.

    An error that leaves the block is an event too; the process then ends with 1.
    """
    keep_descriptors()
    before = sys.stdout, sys.stderr, sys.excepthook, threading.excepthook, sys.unraisablehook
    sys.stdout = LineStream(output(), STANDARD_OUTPUT)
    sys.stderr = LineStream(errors(), STANDARD_ERROR)
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread
    sys.unraisablehook = _unraisable
    logging.captureWarnings(capture=True)
    try:
        yield
    except Exception:
        logger.critical("unhandled exception", exc_info=True)
        raise SystemExit(1) from None
    finally:
        drain()
        logging.captureWarnings(capture=False)
        sys.stdout, sys.stderr, sys.excepthook, threading.excepthook, sys.unraisablehook = before


def _uncaught(kind: type[BaseException], error: BaseException, traceback: types.TracebackType | None) -> None:
    logger.critical("unhandled exception", exc_info=(kind, error, traceback))
    drain()


def _uncaught_in_thread(hook: threading.ExceptHookArgs) -> None:
    if hook.exc_value is not None:
        name = hook.thread.name if hook.thread else ""
        exc_info = (hook.exc_type, hook.exc_value, hook.exc_traceback)
        logger.error("unhandled exception", thread=name, exc_info=exc_info)


def _unraisable(hook: "sys.UnraisableHookArgs") -> None:
    if hook.exc_value is not None:
        exc_info = (hook.exc_type, hook.exc_value, hook.exc_traceback)
        logger.error(
            "unhandled exception", where=f"{hook.err_msg or 'in'} {hook.object!r}", exc_info=exc_info
        )


def _report(feed: Feed) -> None:
    """Log once that lines begin to be lost, and once that they are written again."""
    if not feed.reason:
        logger.warning("log lines are written again", log=feed.name, dropped=feed.missing)
    elif feed.name != "event":  # which cannot say so itself
        logger.warning("log lines are dropped", log=feed.name, cause=feed.reason)


def _drops() -> Sequence[tuple[Labels, float]]:
    return [((feed.name,), feed.dropped) for feed in (output(), errors())]


@cache
def _outlet(descriptor: int) -> Outlet:
    if descriptor == STANDARD_ERROR and _same_file(STANDARD_OUTPUT, STANDARD_ERROR):
        return _outlet(STANDARD_OUTPUT)
    outlet = Outlet(descriptor)
    os.register_at_fork(after_in_child=outlet.forget)
    return outlet


def _same_file(one: int, other: int) -> bool:
    with suppress(OSError):
        return os.path.samestat(os.fstat(one), os.fstat(other))
    return False
