"""Backpressure of one client connection, in both directions."""

import asyncio
import socket
import struct
from contextlib import suppress


class Flow:
    """Pauses reading from ``transport``, and lets writers wait while the client reads too slowly."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.read_paused = False
        self.write_paused = False
        self.is_held = False
        """True if octets have been read that are still to be looked at."""
        self._writable = asyncio.Event()
        self._writable.set()

    def reset(self) -> None:
        """End the connection so that its client cannot take the end for that of an answer."""
        if (sock := self.transport.get_extra_info("socket")) is not None:
            with suppress(OSError):  # it may have ended already
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    async def drain(self) -> None:
        """Wait until the client has caught up."""
        await self._writable.wait()

    def pause_reading(self) -> None:
        """Read nothing until ``resume_reading``."""
        self._settle_reading(paused=True, held=self.is_held)

    def resume_reading(self) -> None:
        """Read on, unless reading is held."""
        self._settle_reading(paused=False, held=self.is_held)

    def hold_reading(self) -> None:
        """Read nothing until ``release_reading``, whatever is resumed meanwhile."""
        self._settle_reading(paused=self.read_paused, held=True)

    def release_reading(self) -> None:
        """Read on, unless reading is paused."""
        self._settle_reading(paused=self.read_paused, held=False)

    def _settle_reading(self, *, paused: bool, held: bool) -> None:
        """Let the transport read if reading is neither paused nor held; call it only if that changes."""
        did_read, reads = not (self.read_paused or self.is_held), not (paused or held)
        self.read_paused, self.is_held = paused, held
        if reads and not did_read:
            self.transport.resume_reading()
        elif did_read and not reads:
            self.transport.pause_reading()

    def pause_writing(self) -> None:
        """Let writers wait: the transport holds more than its high-water mark."""
        self.write_paused = True
        self._writable.clear()

    def resume_writing(self) -> None:
        """Let writers go on: the client has caught up, or is gone."""
        self.write_paused = False
        self._writable.set()
