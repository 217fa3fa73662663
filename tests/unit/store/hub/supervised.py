"""A supervisor's hub in a thread, and workers of it on this event loop, over real socket pairs."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from threading import Thread

from metaproxy.clock import monotonic
from metaproxy.store.hub.broadcast import HubBroadcast
from metaproxy.store.hub.client import HubClient
from metaproxy.store.hub.counters import HubCounters
from metaproxy.store.hub.hub import Hub
from metaproxy.store.hub.revocations import HubRecord

SECONDS = 30.0
"""Ends a test that hangs."""


class Supervisor:
    """Serves a hub between ``serve`` and ``pause``."""

    def __init__(self, hub: Hub | None = None) -> None:
        self.hub = Hub() if hub is None else hub
        self._thread: Thread | None = None
        self._stop, self._stopped = socket.socketpair()

    def serve(self) -> None:
        """Begin to serve."""
        self._thread = Thread(target=self.hub.serve, args=([self._stopped.fileno()], None))
        self._thread.start()

    def pause(self) -> None:
        """Stop to serve, as a supervisor that hangs."""
        if self._thread is not None:
            self._stop.send(b"\0")
            self._thread.join()
            self._stopped.recv(1)
            self._thread = None

    def serve_once(self) -> None:
        """Do what can be done at once. Not while it serves."""
        self.hub.serve([], 0.0)

    def close(self) -> None:
        """End the hub, as the end of the supervisor does."""
        self.pause()
        self.hub.close()
        self._stop.close()
        self._stopped.close()


class Worker:
    """A worker as far as it uses the hub."""

    def __init__(self, hub: Hub, *, timeout_seconds: float = SECONDS, lease_seconds: float = SECONDS) -> None:
        self.client = HubClient(hub.connect(), timeout_seconds=timeout_seconds, monotonic=monotonic)
        self.counters = HubCounters(self.client)
        self.broadcast = HubBroadcast(self.client, lease_seconds=lease_seconds)
        self.record = HubRecord(self.client)

    async def start(self) -> "Worker":
        """Connect and listen."""
        await self.client.start()
        await self.broadcast.start()
        return self

    async def close(self) -> None:
        """Disconnect."""
        await self.broadcast.close()
        await self.client.close()


@asynccontextmanager
async def supervised(
    count: int, *, timeout_seconds: float = SECONDS, lease_seconds: float = SECONDS
) -> AsyncIterator[tuple[Supervisor, list[Worker]]]:
    """Yield a supervisor that serves, and ``count`` workers of it."""
    supervisor = Supervisor()
    workers = [
        Worker(supervisor.hub, timeout_seconds=timeout_seconds, lease_seconds=lease_seconds)
        for _ in range(count)
    ]
    supervisor.serve()
    try:
        for worker in workers:
            await worker.start()
        yield supervisor, workers
    finally:
        for worker in workers:
            await worker.close()
        supervisor.close()
