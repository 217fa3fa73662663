"""``metaproxy serve``: bind, say what listens, and serve in one process or in several."""

import asyncio
import signal
import socket
import ssl
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

import structlog
import uvloop

from metaproxy.assembly.tls import TlsError
from metaproxy.config.model import Config
from metaproxy.server import closing
from metaproxy.server.activation import activated
from metaproxy.server.banner import banner, facts
from metaproxy.server.listeners import ListenError, bind_all, close_all, describe, nth, tls_context
from metaproxy.server.watch import digest
from metaproxy.server.worker import Worker
from metaproxy.server.workers import Supervisor
from metaproxy.telemetry import logs

logger = structlog.get_logger("metaproxy")


def run(config: Config, config_path: Path, *, watch: bool = True) -> int:
    """Serve ``config``, read from ``config_path``, until SIGTERM or SIGINT; return the exit code.

    Sockets that systemd has bound go before the addresses of ``config``. SIGHUP and the operator have the
    file read anew, and so does its change where ``watch`` says so.
    """
    known = digest(config_path) if watch else None
    # Until a worker can reload: what it does not handle would end the process.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    logs.configure(config.logging.format, config.logging.level)
    workers = config.server.workers
    bound = ExitStack()
    try:
        tls = _tls(config)
        passed = activated()
        listeners = passed.data or bind_all(config.server.listen)
        bound.callback(close_all, [] if passed.data else listeners)
        admin_listeners: list[list[socket.socket]] = []
        for number in range(workers):
            passed_on = passed.admin if number == 0 else []
            admin_listeners.append(passed_on or _bind_admin(config, number))
            bound.callback(close_all, [] if passed_on else admin_listeners[number])
    except ListenError as error:
        bound.close()
        print(f"metaproxy: {error}", file=sys.stderr)  # noqa: T201 - the operator's terminal
        return 1
    _announce(config, [describe(listener, tls=tls is not None) for listener in listeners], admin_listeners)

    ours = [] if passed.data else listeners

    def work(number: int) -> int:
        for of_another in (*admin_listeners[:number], *admin_listeners[number + 1 :]):
            _close(of_another)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_work(number))

    async def _work(number: int) -> int:
        try:
            worker = Worker(number, config, config_path, tls)
        except (TlsError, OSError, ValueError) as error:
            print(f"metaproxy: {error}", file=sys.stderr)  # noqa: T201 - the operator's terminal
            return 1
        # Several workers share the listeners, and one may end alone: only their supervisor closes the door.
        return await worker.serve(
            listeners, admin_listeners[number], known=known, ours=ours if workers == 1 else ()
        )

    def stop_listening() -> None:
        closing.admit_no_more(ours)
        _close(listeners)  # what the workers do not accept before they close would wait for nobody

    with bound:
        return work(0) if workers == 1 else Supervisor(workers, work, at_stop=stop_listening).run()


def _close(listeners: Iterable[socket.socket]) -> None:
    for listener in listeners:
        listener.close()


def _bind_admin(config: Config, worker: int) -> list[socket.socket]:
    """Return the admin listeners of one worker: each has its own, at the next port or with its number."""
    return bind_all([nth(address, worker) for address in config.admin.listen])


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
