"""One process that serves: the application in use, its two servers, its signals, its end."""

import asyncio
import gc
import signal
import socket
from collections.abc import Callable, Coroutine, Sequence

import structlog

from metaproxy.admin import create_admin
from metaproxy.app import Application, create_app
from metaproxy.assembly.tls import server_context
from metaproxy.config import Config
from metaproxy.server import closing, descriptors
from metaproxy.server.alone import Alone
from metaproxy.server.deadlines import sweep
from metaproxy.server.follow import Follower
from metaproxy.server.handshakes import HandshakeFailures
from metaproxy.server.listener_tls import ListenerContext, listener_context, warn_of_expiry
from metaproxy.server.notify import Notifier
from metaproxy.server.reload import Apply, Reloader
from metaproxy.server.serving import QuietServer, data_server, edge_limits, edge_of, quiet_server
from metaproxy.server.source import Generation, Source
from metaproxy.server.stopping import Stopping
from metaproxy.server.switch import Switch
from metaproxy.server.watch import Watch
from metaproxy.store.hub.shared import HubStore
from metaproxy.tasks import TaskSet
from metaproxy.telemetry import logs

logger = structlog.get_logger("metaproxy")

ADMIN_GRACE_SECONDS = 1.0
LAST_WORD_SECONDS = 1.0
"""How long a worker waits for the end of its other connection, which tells whether the supervisor is gone."""

COLLECT_AFTER = (10_000, 20, 20)
"""How many objects, and collections of younger ones, the garbage collector waits for.

Requests leave no cycles behind, so there is little to find; a look at everything that a full cache holds
stands in the way of all requests for a tenth of a second.
"""


class Worker:
    """Serves on sockets that are bound already.

    Args:
        number: which of the workers this is, from 0.
        begin: the configuration to begin with. Raises TlsError if a file of it cannot be used.
        hub: the connection to the state that workers share; None without a supervisor.
    """

    def __init__(self, number: int, begin: Generation, hub: HubStore | None = None) -> None:
        config = begin.config
        application = create_app(config, hub=hub)
        self._hub = hub
        self._number = number
        self._switch = Switch(application)
        self._edge = edge_of(application)
        self._edge.fast_lane = self._switch
        self._tls: ListenerContext | None = None
        if config.server.tls is not None:
            failures = HandshakeFailures(application.metrics)
            self._tls = listener_context(server_context(config.server.tls, config.files), failures.failed)
        self._data = data_server(self._switch, self._edge, grace=config.server.shutdown_grace, tls=self._tls)
        self._reloader = Reloader(self._switch, begin.state, worker=number, outside=self._outside)
        connections = self._data.server_state.connections
        application.metrics.gauge(
            "metaproxy_connections", "Open connections of clients.", (), lambda: [((), len(connections))]
        )
        application.metrics.gauge(
            "metaproxy_descriptors", "File descriptors: open, and the limit.", ("kind",), descriptors.samples
        )
        self._admin: QuietServer | None = None
        if config.admin.listen:
            self._admin = quiet_server(create_admin(self._reloader), grace=ADMIN_GRACE_SECONDS)
        self._tasks = TaskSet()
        self._stopping = Stopping(self._break_off)

    async def serve_alone(
        self,
        listeners: Sequence[socket.socket],
        admin_listeners: Sequence[socket.socket],
        *,
        ours: Sequence[socket.socket],
        source: Source,
        watch: Watch | None,
        notifier: Notifier,
        early: Sequence[int],
    ) -> int:
        """Serve until SIGTERM or SIGINT, let what runs finish, and return the exit code.

        ``ours`` are the listeners that end with this process. ``watch`` reloads when a file changes.
        ``early`` are signals to reload that have come already.
        """
        alone = Alone(source, self._reloader, watch=watch, notifier=notifier)
        self._reloader.ask = alone.reload
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.signalled)
        hung_up = asyncio.Event()
        if early:
            hung_up.set()
        loop.add_signal_handler(signal.SIGHUP, hung_up.set)

        async def reload_on_signal() -> None:
            while await hung_up.wait():
                hung_up.clear()
                await alone.try_to_reload("signal")

        async def live() -> None:
            notifier.ready()
            self._tasks.start(reload_on_signal(), name="reload-on-signal")
            self._tasks.start(alone.follow_files(), name="follow-files")
            if notifier.alive_every is not None:
                self._tasks.start(_tell_alive(notifier, notifier.alive_every), name="watchdog")
            await self._stopping.asked.wait()
            notifier.stopping()

        return await self._serve(listeners, admin_listeners, live, ours=ours)

    async def serve_with_others(
        self,
        listeners: Sequence[socket.socket],
        admin_listeners: Sequence[socket.socket],
        *,
        ours: Sequence[socket.socket],
        supervisor: socket.socket,
    ) -> int:
        """Serve until the supervisor says so or is gone; ``supervisor`` is the connection to it.

        The supervisor closes ``ours``; if it is gone, the workers do.
        """
        follower = Follower(supervisor, self._reloader, break_off=self._break_off)
        self._reloader.ask = follower.reload
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stopping.asked.set)
        # Ctrl-C reaches the whole process group: the supervisor, which has got it too, sends SIGTERM.
        loop.add_signal_handler(signal.SIGINT, lambda: None)
        loop.add_signal_handler(signal.SIGHUP, lambda: follower.ask("signal"))
        closed_by_us: list[socket.socket] = []

        async def live() -> None:
            following = self._tasks.start(follower.follow(), name="follow-supervisor")
            stopped = self._tasks.start(self._stopping.asked.wait(), name="stop")
            cut_off = self._tasks.start(self._hub_is_lost(), name="hub")
            await asyncio.wait((following, stopped, cut_off), return_when=asyncio.FIRST_COMPLETED)
            if cut_off.done() and not stopped.done():
                # If the supervisor is gone, the other connection ends in the same moment.
                await asyncio.wait((following,), timeout=LAST_WORD_SECONDS)
            if following.done() and not follower.has_failed:
                closed_by_us.extend(ours)
                if self._admin is not None:  # another start needs its port
                    self._admin.should_exit = True

        return await self._serve(listeners, admin_listeners, live, ours=closed_by_us)

    async def _serve(
        self,
        listeners: Sequence[socket.socket],
        admin_listeners: Sequence[socket.socket],
        live: Callable[[], Coroutine[None, None, None]],
        *,
        ours: Sequence[socket.socket],
    ) -> int:
        await self._switch.application.start()
        # The objects of now stay: the collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*COLLECT_AFTER)
        try:
            serving = self._tasks.start(self._data.serve(sockets=list(listeners)), name="data-server")
            self._tasks.start(self._sweep(), name="deadlines")
            administering: asyncio.Task[None] | None = None
            if self._admin is not None:
                administering = self._tasks.start(
                    self._admin.serve(sockets=list(admin_listeners)), name="admin-server"
                )
            await _first(self._tasks.start(self._data.listening.wait(), name="listen"), serving)
            if self._number == 0:
                warn_of_expiry(self._switch.application.config)
            logger.info("serving")
            await _first(self._tasks.start(live(), name="live"), serving)
            await self._drain(serving, ours)
            if administering is not None:
                # The event loop cannot close as long as a listener is open and Python raises its warnings.
                await asyncio.wait((administering,), timeout=2 * ADMIN_GRACE_SECONDS)
        finally:
            await self._tasks.cancel()
            await self._switch.close()
            if self._hub is not None:
                await self._hub.close()
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

    async def _hub_is_lost(self) -> None:
        """Return when the connection to the hub has ended. The worker must end then; another replaces it."""
        if self._hub is None:
            await self._stopping.asked.wait()
        else:
            await self._hub.wait_for_end()
            logger.error("what workers share cannot be reached, the worker leaves")

    async def _sweep(self) -> None:
        await sweep(self._data.server_state.connections, is_pressed=self._edge.is_pressed)

    def _break_off(self) -> None:
        """End at once: whatever runs is broken off, now or when the end begins."""
        self._stopping.asked.set()
        self._data.break_off()
        if self._admin is not None:
            self._admin.should_exit = self._admin.force_exit = True

    def _outside(self, config: Config) -> Apply:
        """Return what brings ``config`` into use outside the application; raises TlsError."""
        section = config.server.tls
        context = server_context(section, config.files) if self._tls and section else None

        def apply(application: Application) -> None:
            if self._tls is not None and context is not None:
                revokes = _authorities(config) != _authorities(self._switch.application.config)
                self._tls.renew(context, revokes=revokes)
                if revokes:
                    # A client let in by an authority that may be gone has to show a certificate again.
                    for connection in list(self._data.server_state.connections):
                        connection.shutdown()
            logs.configure(config.logging.format, config.logging.level)
            self._data.config.timeout_graceful_shutdown = round(config.server.shutdown_grace)
            trace = application.trace
            self._edge.limits = edge_limits(config)
            self._edge.signature, self._edge.record = trace.signature, trace.record
            self._edge.date = trace.date
            if self._number == 0:
                warn_of_expiry(config)
                descriptors.warn_if_short(config)

        return apply


def _authorities(config: Config) -> tuple[bytes | None, ...]:
    tls = config.server.tls
    return config.files.digests((tls.client_ca,)) if tls is not None else ()


async def _tell_alive(notifier: Notifier, seconds: float) -> None:
    while True:
        notifier.alive()
        await asyncio.sleep(seconds)


async def _first(*tasks: "asyncio.Task[object]") -> None:
    """Wait until one of ``tasks`` has ended."""
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
