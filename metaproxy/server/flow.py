"""Backpressure of one client connection, in both directions."""

import asyncio


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

    async def drain(self) -> None:
        """Wait until the client has caught up."""
        await self._writable.wait()

    def pause_reading(self) -> None:
        """Read nothing until ``resume_reading``."""
        if not self.read_paused:
            self.read_paused = True
            if not self.is_held:
                self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on, unless reading is held."""
        if self.read_paused:
            self.read_paused = False
            if not self.is_held:
                self.transport.resume_reading()

    def hold_reading(self) -> None:
        """Read nothing until ``release_reading``, whatever is resumed meanwhile."""
        if not self.is_held:
            self.is_held = True
            if not self.read_paused:
                self.transport.pause_reading()

    def release_reading(self) -> None:
        """Read on, unless reading is paused."""
        if self.is_held:
            self.is_held = False
            if not self.read_paused:
                self.transport.resume_reading()

    def pause_writing(self) -> None:
        """Let writers wait: the transport holds more than its high-water mark."""
        self.write_paused = True
        self._writable.clear()

    def resume_writing(self) -> None:
        """Let writers go on: the client has caught up, or is gone."""
        self.write_paused = False
        self._writable.set()
