"""The event log: structlog on standard error, JSON for machines or lines for eyes.

The access log is another log: ``access_log`` writes it to standard output. Lines of both have
``time`` and ``event``.
"""

import json
import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from metaproxy.clock import wall
from metaproxy.telemetry.console import escaped, word

COLORS = {"error": "\x1b[31m", "critical": "\x1b[31m", "warning": "\x1b[33m", "info": "\x1b[32m"}
RESET = "\x1b[0m"

NOT_PLAIN = frozenset('="\\')


class QuietHandler(logging.StreamHandler[Any]):
    """A handler that reports no failure of its own: it would report it where it has just failed."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Drop the line."""


def configure(log_format: str = "json", level: str = "info") -> None:
    """Set up logging for the process.

    Args:
        log_format: ``json`` or ``console``.
        level: ``debug``, ``info``, ``warning`` or ``error``.
    """
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]

    def ordered(_logger: object, _method: str, event: MutableMapping[str, Any]) -> dict[str, Any]:
        first = {"time": round(wall(), 3), "level": event.pop("level", ""), "event": event.pop("event", "")}
        return {**first, **event}

    renderers: list[Any] = (
        [ConsoleLine(colors=sys.stderr.isatty())]
        if log_format == "console"
        else [structlog.processors.format_exc_info, ordered, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = QuietHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    set_level(level)


class ConsoleLine:
    """Renders an event as a line for eyes: its time, level, text and ``key=value`` pairs; then its traceback.

    The text is in quotes if it could be read as more than that. A line of a traceback begins with blanks, so
    that none can be taken for an event. Tracebacks show no local variables, tokens among them.
    """

    def __init__(self, *, colors: bool) -> None:
        self._colors = colors

    def __call__(self, logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
        """Return the line."""
        event = structlog.processors.format_exc_info(logger, method, event)
        moment, level, text = event.pop("timestamp", ""), event.pop("level", ""), str(event.pop("event", ""))
        traces = [str(event.pop(name)) for name in ("stack", "exception") if event.get(name)]
        words = " ".join(f"{escaped(name)}={word(value)}" for name, value in event.items())
        shown_level = f"{COLORS.get(level, '')}{level:<8}{RESET}" if self._colors else f"{level:<8}"
        lines = [f"{moment} [{shown_level}] {_message(text):<30} {words}".rstrip()]
        lines += [f"  {escaped(line)}" for trace in traces for line in trace.split("\n")]
        return "\n".join(lines)


def _message(text: str) -> str:
    is_plain = text.isprintable() and not set(text) & NOT_PLAIN
    return text if is_plain else escaped(json.dumps(text, ensure_ascii=False))


def level() -> str:
    """Return the level of the process's log."""
    return logging.getLevelName(logging.getLogger().level).lower()


def set_level(level: str) -> None:
    """Change the level of the process's log at run time."""
    logging.getLogger().setLevel(level.upper())
    # The server's own chatter repeats what the banner and the access log say better.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.getLogger("uvicorn.error").addFilter(_not_ours)
    logging.getLogger("httpx").setLevel(logging.WARNING)


def _not_ours(record: logging.LogRecord) -> bool:
    """Drop the server's report of an answer that we broke off, at our end too: the line has told why."""
    error = record.exc_info[1] if record.exc_info else None
    return type(error).__name__ not in {"ResponseAborted", "CancelledError"}
