"""The event loop of a process that serves.

Fact this file rests on: uvloop reports a TLS connection that was given up while octets arrived as a fatal
error, with a traceback. It is none: whoever gave up the connection says why.
"""

import asyncio
from typing import Any

import structlog
import uvloop

_OF_TLS = "Fatal error on SSL protocol"
_GIVEN_UP = "the handler is closed"
"""The end of the RuntimeError of uvloop for what uses a transport that is closed."""

logger = structlog.get_logger(__name__)


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return a loop of uvloop that reports what is a fault, and nothing else."""
    loop = uvloop.new_event_loop()
    loop.set_exception_handler(_report)
    return loop


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    is_given_up = isinstance(error, RuntimeError) and str(error).endswith(_GIVEN_UP)
    if is_given_up and context.get("message") == _OF_TLS:
        logger.debug("a TLS connection was given up while octets arrived")
    else:
        loop.default_exception_handler(context)
