"""What the event loop reports of connections that were given up, and of faults."""

import asyncio
import logging
import socket

import pytest
from structlog.testing import capture_logs

from metaproxy.server.loops import new_event_loop

OF_TLS = "Fatal error on SSL protocol"


class Closing(asyncio.Protocol):
    """The end of a connection that says when it is closed."""

    def __init__(self) -> None:
        self.is_closed = asyncio.Event()

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note (asyncio.Protocol)."""
        self.is_closed.set()


async def error_of_a_closed_connection() -> RuntimeError:
    """The error of uvloop itself for a write to a connection that was given up."""
    here, there = socket.socketpair()
    with there:
        transport, closing = await asyncio.get_running_loop().create_connection(Closing, sock=here)
        transport.abort()
        await closing.is_closed.wait()
        with pytest.raises(RuntimeError) as refused:
            transport.write(b"octets")
    return refused.value


def reported(message: str, error: Exception | None, caplog: pytest.LogCaptureFixture) -> list[str]:
    """The lines of level error for what uvloop reports as ``message``."""

    async def report() -> None:
        exception = await error_of_a_closed_connection() if error is None else error
        asyncio.get_running_loop().call_exception_handler({"message": message, "exception": exception})

    with (
        caplog.at_level(logging.ERROR),
        capture_logs(),
        asyncio.Runner(loop_factory=new_event_loop) as runner,
    ):
        runner.run(report())
    return [record.getMessage() for record in caplog.records]


def test_a_tls_connection_that_was_given_up_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    assert reported(OF_TLS, None, caplog) == []


@pytest.mark.parametrize("error", [RuntimeError("ours"), KeyError("ours")])
def test_a_fault_under_tls_is_logged(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    (line,) = reported(OF_TLS, error, caplog)
    assert line.startswith(OF_TLS)


def test_a_write_to_a_closed_connection_elsewhere_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    (line,) = reported("Exception in callback", None, caplog)
    assert line.startswith("Exception in callback")
