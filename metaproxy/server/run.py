"""``metaproxy serve``: bind, start the line, serve until told to stop, drain, leave."""

import asyncio
import contextlib
import math
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import structlog
import uvicorn
import uvloop
from starlette.types import ASGIApp

from metaproxy.admin import create_admin
from metaproxy.app import Application, create_app
from metaproxy.config.model import Config
from metaproxy.server.banner import banner, facts
from metaproxy.server.listeners import ListenError, bind, describe, nth, tls_context
from metaproxy.server.protocol import Edge, EdgeLimits, EdgeProtocol, sweep
from metaproxy.server.workers import Supervisor
from metaproxy.tasks import TaskSet
from metaproxy.telemetry import logs

logger = structlog.get_logger("metaproxy")


def run(config: Config, config_path: Path) -> int:
    """Serve ``config``, read from ``config_path``, until SIGTERM or SIGINT; return the exit code."""
    logs.configure(config.logging.format, config.logging.level)
    workers = config.server.workers
    try:
        tls = _tls(config)
        listeners = [bind(address) for address in config.server.listen]
        admin_listeners = [_bind_admin(config, number) for number in range(workers)]
    except ListenError as error:
        print(f"metaproxy: {error}", file=sys.stderr)  # noqa: T201 - the operator's terminal
        return 1
    _announce(config, [describe(listener, tls=tls is not None) for listener in listeners], admin_listeners)

    def work(number: int) -> int:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_serve(config, listeners, admin_listeners[number], tls))

    return work(0) if workers == 1 else Supervisor(workers, work).run()


def _bind_admin(config: Config, worker: int) -> list[socket.socket]:
    """Return the admin listeners of one worker: each has its own, at the next port or with its number."""
    return [bind(nth(address, worker)) for address in config.admin.listen]


def _tls(config: Config) -> ssl.SSLContext | None:
    tls = config.server.tls
    return tls_context(tls.certificate, tls.key, tls.client_ca) if tls else None


def _announce(
    config: Config, listening: Sequence[str], admin_listeners: Sequence[Sequence[socket.socket]]
) -> None:
    admin = [describe(listener) for of_worker in admin_listeners for listener in of_worker]
    if config.logging.format == "console":
        print(banner(config, listening, admin), file=sys.stderr)  # noqa: T201 - the operator's terminal
    else:
        logger.info("starting", **facts(config, listening, admin))


async def _serve(
    config: Config,
    listeners: Sequence[socket.socket],
    admin_listeners: Sequence[socket.socket],
    tls: ssl.SSLContext | None,
) -> int:
    application = create_app(config)
    await application.start()
    tasks = TaskSet()
    data = _data_server(config, application, tls)
    admin = _server(create_admin(application), grace=1.0) if admin_listeners else None
    stop = _stop_signal()
    try:
        serving = tasks.start(data.serve(sockets=list(listeners)), name="data-server")
        tasks.start(sweep(data.server_state.connections), name="deadlines")
        if admin is not None:
            tasks.start(admin.serve(sockets=list(admin_listeners)), name="admin-server")
        logger.info("serving")
        await _first(stop, serving)
        application.draining = True
        logger.info("draining", grace_seconds=config.server.shutdown_grace)
        data.should_exit = True
        await serving
        if admin is not None:
            admin.should_exit = True
    finally:
        await tasks.cancel()
        await application.close()
    logger.info("stopped")
    return 0


async def _first(stop: asyncio.Event, serving: "asyncio.Task[None]") -> None:
    """Wait until the process is told to stop, or the server ends by itself."""
    told = asyncio.ensure_future(stop.wait())
    await asyncio.wait((told, serving), return_when=asyncio.FIRST_COMPLETED)
    told.cancel()


def _stop_signal() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, stop.set)
    return stop


class _Server(uvicorn.Server):
    """uvicorn's server without its signal handlers: this module has its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _server(app: ASGIApp, *, grace: float, **options: object) -> _Server:
    return _Server(
        uvicorn.Config(
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
    )


def _data_server(config: Config, application: Application, tls: ssl.SSLContext | None) -> _Server:
    server = config.server
    limits = EdgeLimits(
        header_bytes=server.header_bytes,
        header_seconds=server.header_timeout,
        body_seconds=server.body_timeout,
        idle_seconds=server.idle_timeout,
        max_connections=server.max_connections,
    )
    trace = application.trace
    edge = Edge(limits, trace.via, trace.record, trace.date, fast_lane=application.fast_lane())
    protocol: Callable[..., asyncio.Protocol] = partial(EdgeProtocol, edge=edge)
    running = _server(application, grace=server.shutdown_grace, http=protocol, date_header=False)
    if tls is not None:
        running.config.load()
        running.config.ssl = tls
    return running
