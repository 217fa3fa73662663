"""One process that serves: the application in use, its two servers, its signals, its end."""

import asyncio
import gc
import os
import signal
import socket
import ssl
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import structlog

from metaproxy.admin import create_admin
from metaproxy.app import Application, create_app
from metaproxy.config import Config
from metaproxy.server import closing
from metaproxy.server.deadlines import sweep
from metaproxy.server.listeners import tls_context
from metaproxy.server.reload import Reloader
from metaproxy.server.serving import QuietServer, data_server, edge_limits, edge_of, quiet_server
from metaproxy.server.switch import Switch
from metaproxy.server.watch import changes
from metaproxy.tasks import TaskSet
from metaproxy.telemetry import logs

logger = structlog.get_logger("metaproxy")

ADMIN_GRACE_SECONDS = 1.0

COLLECT_AFTER = (10_000, 20, 20)
"""How many objects, and collections of younger ones, the garbage collector waits for.

Requests leave no cycles behind, so there is little to find; a look at everything that a full cache holds
stands in the way of all requests for a tenth of a second.
"""


class Worker:
    """Serves on sockets that are bound already.

    Args:
        number: which of the workers this is, from 0.
        config: what to begin with.
        config_path: where it was read from, and is read from again.
        tls: the context of the data listeners, None for plain HTTP.
    """

    def __init__(self, number: int, config: Config, config_path: Path, tls: ssl.SSLContext | None) -> None:
        application = create_app(config)
        self._switch = Switch(application)
        self._edge = edge_of(application)
        self._edge.fast_lane = self._switch
        self._tls = tls
        self._config_path = config_path
        self._data = data_server(self._switch, self._edge, grace=config.server.shutdown_grace, tls=tls)
        self._reloader = Reloader(
            self._switch,
            config_path,
            worker=number,
            apply=self._apply,
            tell_all=_signal_to_supervisor() if config.server.workers > 1 else None,
        )
        connections = self._data.server_state.connections
        application.metrics.gauge(
            "metaproxy_connections", "Open connections of clients.", (), lambda: [((), len(connections))]
        )
        self._admin: QuietServer | None = None
        if config.admin.listen:
            self._admin = quiet_server(create_admin(self._reloader), grace=ADMIN_GRACE_SECONDS)
        self._tasks = TaskSet()

    async def serve(
        self,
        listeners: Sequence[socket.socket],
        admin_listeners: Sequence[socket.socket],
        *,
        known: bytes | None,
        ours: Sequence[socket.socket] = (),
    ) -> int:
        """Serve until SIGTERM or SIGINT, let what runs finish, and return the exit code.

        ``ours`` are the listeners that end with this process.

        A change of the configuration file is taken into use by itself, where ``known`` is the digest of
        the content that the configuration was read from.
        """
        await self._switch.application.start()
        # What is there now stays: the collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*COLLECT_AFTER)
        stop = self._handle_signals()
        try:
            serving = self._tasks.start(self._data.serve(sockets=list(listeners)), name="data-server")
            self._tasks.start(sweep(self._data.server_state.connections), name="deadlines")
            if self._admin is not None:
                self._tasks.start(self._admin.serve(sockets=list(admin_listeners)), name="admin-server")
            if known is not None:
                self._tasks.start(self._watch(known), name="watch-config")
            logger.info("serving")
            await _first(stop, serving)
            await self._drain(serving, ours)
        finally:
            await self._tasks.cancel()
            await self._switch.close()
        logger.info("stopped")
        return 0

    async def _drain(self, serving: "asyncio.Task[None]", ours: Sequence[socket.socket]) -> None:
        application = self._switch.application
        application.draining = True
        logger.info("draining", grace_seconds=application.config.server.shutdown_grace)
        closing.admit_no_more(ours)
        self._data.should_exit = True
        await serving
        if self._admin is not None:
            self._admin.should_exit = True

    def _handle_signals(self) -> asyncio.Event:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signal_number, stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload_on_signal)
        return stop

    def _reload_on_signal(self) -> None:
        self._tasks.start(self._reloader.try_reload_here("signal"), name="reload")

    async def _watch(self, known: bytes) -> None:
        async for _ in changes(self._config_path, known):
            await self._reloader.try_reload_here("file")

    def _apply(self, config: Config, application: Application) -> None:
        """Take into use what lies outside the application; raises ListenError before anything is changed."""
        tls = config.server.tls
        if self._tls is not None and tls is not None:
            tls_context(tls.certificate, tls.key, tls.client_ca)
            self._tls.load_cert_chain(tls.certificate, tls.key)
        logs.configure(config.logging.format, config.logging.level)
        self._data.config.timeout_graceful_shutdown = round(config.server.shutdown_grace)
        trace = application.trace
        self._edge.limits = edge_limits(config.server)
        self._edge.via, self._edge.record, self._edge.date = trace.via, trace.record, trace.date


def _signal_to_supervisor() -> Callable[[], None]:
    """Return what tells the supervisor, this process's parent, to have all workers reload."""
    return partial(os.kill, os.getppid(), signal.SIGHUP)


async def _first(stop: asyncio.Event, serving: "asyncio.Task[None]") -> None:
    """Wait until the process is told to stop, or the server ends by itself."""
    told = asyncio.ensure_future(stop.wait())
    await asyncio.wait((told, serving), return_when=asyncio.FIRST_COMPLETED)
    told.cancel()
