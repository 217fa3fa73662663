"""Telling systemd how it goes (sd_notify(3)): ready, reloading, stopping, alive.

The variable NOTIFY_SOCKET names a datagram socket, a leading ``@`` stands for a null byte. A process that was
not started by systemd with Type=notify has none; then nothing is sent. WATCHDOG_USEC is the time without a
sign of life after which systemd ends the service, for the process WATCHDOG_PID.
"""

import os
import socket
import time
from collections.abc import MutableMapping
from contextlib import suppress

READY, STOPPING, ALIVE = "READY=1", "STOPPING=1", "WATCHDOG=1"


class Notifier:
    """Sends states to whatever started the process. The variables are taken out of ``environ``."""

    def __init__(self, environ: MutableMapping[str, str] = os.environ) -> None:
        address = environ.pop("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        microseconds, pid = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        is_ours = not pid or pid == str(os.getpid())
        self.alive_every: float | None = None
        """Seconds between two signs of life; None if nobody waits for one."""
        if self._address and is_ours and microseconds.isdigit() and int(microseconds):
            self.alive_every = int(microseconds) / 2_000_000

    def ready(self) -> None:
        """Requests are served, with the configuration that was asked for last."""
        self._send(READY)

    def reloading(self) -> None:
        """A reload begins; ``ready`` ends it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """The process is about to end."""
        self._send(STOPPING)

    def alive(self) -> None:
        """The process runs."""
        self._send(ALIVE)

    def _send(self, state: str) -> None:
        if not self._address:
            return
        with (
            suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender,
        ):
            sender.setblocking(False)  # noqa: FBT003 - its only argument
            sender.sendto(state.encode(), self._address)
