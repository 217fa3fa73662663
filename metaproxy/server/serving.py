"""uvicorn's server as this process uses it: without what metaproxy does itself."""

import asyncio
import contextlib
import math
import socket
import ssl
from collections.abc import Iterator
from functools import partial
from typing import Any

import structlog
import uvicorn
from starlette.types import ASGIApp

from metaproxy.app import Application
from metaproxy.config.model import Config
from metaproxy.server import closing, descriptors
from metaproxy.server.edge import Edge, EdgeLimits
from metaproxy.server.operators import BACKLOG, OperatorProtocol, Operators
from metaproxy.server.protocol import EdgeProtocol

logger = structlog.get_logger("metaproxy")

FINISH_LOOK_SECONDS = 0.05
BREAK_OFF_SECONDS = 1.0


class QuietServer(uvicorn.Server):
    """uvicorn's server without its signal handlers: the worker has its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield


class DataServer(QuietServer):
    """The server that clients reach. Clients that are connected at its end are answered within the grace."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()
        self._is_broken_off = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        await super().startup(sockets)
        self.listening.set()

    def break_off(self) -> None:
        """Wait for no request any more at the end."""
        self._is_broken_off = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept who waits, close the listeners, and let every connection end what it is at."""
        listeners = sockets or []
        await closing.empty(listeners, until=lambda: self._is_broken_off)
        for server in self.servers:
            server.close()
        for listener in listeners:
            listener.close()
        await self._finish()

    async def _finish(self) -> None:
        loop, state = asyncio.get_running_loop(), self.server_state
        end = loop.time() + (self.config.timeout_graceful_shutdown or 0)
        told: set[Any] = set()
        while True:
            # Again and again: a connection that was accepted last is made in a later turn of the loop.
            told &= state.connections
            for connection in state.connections - told:
                connection.shutdown()
                told.add(connection)
            await asyncio.sleep(FINISH_LOOK_SECONDS)
            if not state.connections and not state.tasks:
                return
            if loop.time() >= end or self._is_broken_off:
                break
        await self._break_off(state.tasks)

    async def _break_off(self, tasks: set["asyncio.Task[None]"]) -> None:
        logger.warning(
            "a second signal came, requests are broken off"
            if self._is_broken_off
            else "the grace is over, requests are broken off",
            requests=len(tasks),
        )
        for task in list(tasks):
            task.cancel()
        if tasks:
            await asyncio.wait(set(tasks), timeout=BREAK_OFF_SECONDS)


def quiet_server(app: ASGIApp, *, grace: float) -> QuietServer:
    """Return a server for the operator's ``app`` that lets requests end for ``grace`` seconds."""
    operators = partial(OperatorProtocol, operators=Operators())
    return QuietServer(_settings(app, grace, http=operators, backlog=BACKLOG))


def data_server(app: ASGIApp, edge: Edge, *, grace: float, tls: ssl.SSLContext | None) -> DataServer:
    """Return the server that clients reach: ``app`` behind ``edge``."""
    server = DataServer(_settings(app, grace, http=partial(EdgeProtocol, edge=edge), date_header=False))
    if tls is not None:
        server.config.load()
        server.config.ssl = tls
    return server


def _settings(app: ASGIApp, grace: float, **options: object) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        lifespan="off",
        interface="asgi3",
        ws="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=math.ceil(grace),
        **options,  # type: ignore[arg-type] # the few that the two servers differ in
    )


def edge_limits(config: Config) -> EdgeLimits:
    """Return the bounds that ``config`` and the limit of file descriptors set."""
    section = config.server
    return EdgeLimits(
        header_bytes=section.header_bytes,
        header_seconds=section.header_timeout,
        body_seconds=section.body_timeout,
        idle_seconds=section.idle_timeout,
        max_connections=descriptors.room(config),
        max_lingering=descriptors.lingering(config),
        max_connections_per_address=section.max_connections_per_address,
        trusted_proxies=section.trusted_proxies,
        ipv6_prefix=section.ipv6_prefix,
    )


def edge_of(application: Application) -> Edge:
    """Return what the connections of ``application`` share."""
    trace = application.trace
    return Edge(
        edge_limits(application.config),
        trace.signature,
        trace.record,
        trace.date,
        refusals=descriptors.Refusals(application.metrics),
    )
