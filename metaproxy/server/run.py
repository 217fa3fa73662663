"""``metaproxy serve``: bind, say what listens, and serve in one process or in several."""

import asyncio
import signal
import socket
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

import structlog

from metaproxy.admin.service import ConfigState
from metaproxy.assembly.tls import TlsError, check_tls
from metaproxy.clock import wall
from metaproxy.config import Problem
from metaproxy.config.model import Config
from metaproxy.preflight.addresses import nth
from metaproxy.server import closing, descriptors
from metaproxy.server.listeners import ListenError, activated, bind_all, close_all, describe
from metaproxy.server.loops import new_event_loop
from metaproxy.server.notify import Notifier
from metaproxy.server.rollout import Rollout
from metaproxy.server.source import Attended, Generation, Source
from metaproxy.server.watch import Watch
from metaproxy.server.worker import Worker
from metaproxy.server.workers import Ends, Supervisor, Work
from metaproxy.settings.units import format_lifetime
from metaproxy.store.hub.hub import Hub
from metaproxy.store.hub.shared import HubStore
from metaproxy.telemetry import logs, standard
from metaproxy.telemetry.console import escaped
from metaproxy.version import __version__

logger = structlog.get_logger("metaproxy")


def run(config: Config, config_path: Path, *, watch: bool = True, warnings: Sequence[Problem] = ()) -> int:
    """Serve ``config``, read from ``config_path``, until SIGTERM or SIGINT; return the exit code.

    Sockets that systemd has bound go before the addresses of ``config``. SIGHUP and the operator have all
    files read anew, and so does a change of one of them if ``watch`` is True. ``warnings`` are logged once.
    """
    with standard.taken_over():
        return _run(config, config_path, watch=watch, warnings=warnings)


def _run(config: Config, config_path: Path, *, watch: bool, warnings: Sequence[Problem]) -> int:
    notifier = Notifier()
    source = Source(config_path, config, warnings)
    watching = Watch(source) if watch else None
    early = _early_hangups()
    logs.configure(config.logging.format, config.logging.level)
    for warning in warnings:
        logger.warning("configuration", problem=str(warning))
    workers = config.server.workers
    bound = ExitStack()
    try:
        check_tls(config)
        passed = activated()
        listeners = passed.data or bind_all(config.server.listen)
        bound.callback(close_all, [] if passed.data else listeners)
        admin_listeners: list[list[socket.socket]] = []
        for number in range(workers):
            passed_on = passed.admin if number == 0 else []
            admin_listeners.append(passed_on or _bind_admin(config, number))
            bound.callback(close_all, [] if passed_on else admin_listeners[number])
    except (ListenError, TlsError) as error:
        bound.close()
        print(f"metaproxy: {escaped(str(error))}", file=sys.stderr)  # noqa: T201 - the operator's terminal
        return 1
    descriptors.raise_limit()
    _announce(
        config,
        [describe(listener, tls=config.server.tls is not None) for listener in listeners],
        admin_listeners,
    )

    descriptors.warn_if_short(config)
    ours = [] if passed.data else listeners

    begin = Generation(config, ConfigState(str(config_path), generation=1, loaded_at=wall()))

    def work(number: int, begin: Generation, ends: Ends | None = None) -> int:
        if ends is not None:
            structlog.contextvars.bind_contextvars(worker=number)
        for of_another in (*admin_listeners[:number], *admin_listeners[number + 1 :]):
            _close(of_another)
        try:
            with asyncio.Runner(loop_factory=new_event_loop) as runner:
                return runner.run(_work(number, begin, ends))
        except Exception:
            logger.critical("unhandled exception", exc_info=True)
            return 1
        finally:
            standard.drain()

    async def _work(number: int, begin: Generation, ends: Ends | None) -> int:
        try:
            worker = Worker(number, begin, hub=HubStore(ends.hub) if ends is not None else None)
        except (TlsError, OSError, ValueError) as error:
            print(f"metaproxy: {escaped(str(error))}", file=sys.stderr)  # noqa: T201 - the operator's terminal
            return 1
        admin = admin_listeners[number]
        if ends is not None:
            return await worker.serve_with_others(listeners, admin, ours=ours, supervisor=ends.control)
        return await worker.serve_alone(
            listeners, admin, ours=ours, source=source, watch=watching, notifier=notifier, early=early
        )

    def stop_listening() -> None:
        closing.admit_no_more(ours)
        _close(listeners)  # what the workers do not accept before they close would wait for nobody

    with bound:
        if workers == 1:
            return work(0, begin)
        return _supervise(
            begin, work, source, watch=watching, notifier=notifier, at_stop=stop_listening, early=early
        )


def _supervise(
    begin: Generation,
    work: Work,
    source: Source,
    *,
    watch: Watch | None,
    notifier: Notifier,
    at_stop: Callable[[], None],
    early: Sequence[int],
) -> int:
    """Keep the workers of ``begin`` alive, and hold what they share; return the exit code."""
    hub = Hub(max_counters=begin.config.limits.max_counters)

    def use(generation: Generation) -> None:
        logs.configure(generation.config.logging.format, generation.config.logging.level)
        hub.hold(generation.config.limits.max_counters)

    rollout = Rollout(Attended(source, hub), begin, at_change=use, notifier=notifier)
    count = begin.config.server.workers
    return Supervisor(
        count, work, rollout, hub=hub, watch=watch, notifier=notifier, at_stop=at_stop, early=early
    ).run()


def _close(listeners: Iterable[socket.socket]) -> None:
    for listener in listeners:
        listener.close()


def _bind_admin(config: Config, worker: int) -> list[socket.socket]:
    """Return the admin listeners of one worker: each has its own, at the next port or with its number."""
    return bind_all([nth(address, worker) for address in config.admin.listen])


def _early_hangups() -> list[int]:
    """Return where each SIGHUP is put until the process can reload: one without a handler would end it."""
    early: list[int] = []
    signal.signal(signal.SIGHUP, lambda number, _: early.append(number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})  # held back since the process began
    return early


def _announce(
    config: Config, listening: Sequence[str], admin_listeners: Sequence[Sequence[socket.socket]]
) -> None:
    admin = [describe(listener) for of_worker in admin_listeners for listener in of_worker]
    if config.logging.format == "console":
        print(banner(config, listening, admin), file=sys.stderr)  # noqa: T201 - the operator's terminal
    else:
        logger.info("starting", **facts(config, listening, admin))


def facts(config: Config, listening: Sequence[str], admin: Sequence[str]) -> dict[str, object]:
    """Return what there is to say, as the fields of one log event."""
    return {
        "version": __version__,
        "listening": list(listening),
        "admin": list(admin),
        "upstream": [str(target) for target in config.upstream.targets],
        "identity": _identity(config),
        "limits": [f"{rule.name}: {rule.rate} per {'+'.join(rule.per)}" for rule in config.limits.rates],
        "cache": [f"{route.path} {format_lifetime(route.ttl)}" for route in config.cache.routes],
        "store": "shared" if config.store.url else "this process",
        "workers": config.server.workers,
    }


def banner(config: Config, listening: Sequence[str], admin: Sequence[str]) -> str:
    """Return the same facts as lines for eyes."""
    told = facts(config, listening, admin)
    lines = [f"metaproxy {told.pop('version')}"]
    for name, value in told.items():
        members = value if isinstance(value, list) else [value]
        lines += _row(name, [str(member) for member in members] or ["none"])
    return "\n".join(lines)


def _row(name: str, members: Sequence[str]) -> Iterable[str]:
    yield f"  {name:<10} {members[0]}"
    for member in members[1:]:
        yield f"  {'':<10} {member}"


def _identity(config: Config) -> str:
    identity = config.identity
    url = getattr(identity, "url", "")
    return f"{identity.provider} {url}".rstrip()
