"""Where events go: structlog on standard error, JSON for machines or lines for eyes.

The access log is not an event log: it goes to standard output, through ``access_log``.
"""

import logging
import sys
from typing import Any

import structlog


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
    renderers: list[Any] = (
        [
            # Not the renderer's own tracebacks: they show local variables, tokens among them.
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            )
        ]
        if log_format == "console"
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
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
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    set_level(level)


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
    # It would log every change in the folder, its own line among them where the log stands there.
    logging.getLogger("watchfiles").setLevel(logging.WARNING)


def _not_ours(record: logging.LogRecord) -> bool:
    """Drop the server's report of an answer that we broke off, at our end too: the line has told why."""
    error = record.exc_info[1] if record.exc_info else None
    return type(error).__name__ not in {"ResponseAborted", "CancelledError"}
