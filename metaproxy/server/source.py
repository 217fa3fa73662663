"""The configuration as it is on the disk, read once for all workers."""

import os
import socket
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import structlog

from metaproxy.admin.service import ConfigState, ReloadRefused
from metaproxy.assembly.tls import TlsError, check_tls
from metaproxy.config import Config, ConfigError, Problem
from metaproxy.config.document import read_document
from metaproxy.config.files import Files
from metaproxy.config.model.server import ServerTls
from metaproxy.preflight import inspect, this_machine
from metaproxy.store.hub.hub import Hub

logger = structlog.get_logger("metaproxy")


@dataclass(frozen=True, slots=True)
class Generation:
    """A configuration that is in use in every worker, with its number and its history."""

    config: Config
    state: ConfigState


class Readable(Protocol):
    """A configuration that can be read, once and again."""

    def read(self) -> tuple[Config, tuple[str, ...]]:
        """Return the configuration, and the keys that only a restart can bring into use."""
        ...


class Source:
    """Reads the configuration file and all files that it names.

    Args:
        bound: the configuration of the start, which the listeners are bound for.
        warnings: what was logged of it.
    """

    def __init__(self, path: Path, bound: Config, warnings: Iterable[Problem] = ()) -> None:
        self.files = bound.files
        """The content that was read last, also if it was refused."""
        self._path = path
        self._bound = bound
        self._logged = {(problem.key, problem.message) for problem in warnings}

    def read(self) -> tuple[Config, tuple[str, ...]]:
        """Return the configuration, and the keys that only a restart can bring into use.

        Logs what is valid and dangerous, if it was not before. Raises ReloadRefused.
        """
        self.files = Files(pipes=False)
        overrides: Mapping[tuple[str, str], object] = {("server", "workers"): self._bound.server.workers}
        try:
            report = inspect(
                self._path, overrides=overrides, files=self.files, machine=this_machine(binds=False)
            )
            config, needs_restart = with_listeners_of(self._bound, report.config)
            check_tls(config)
        except ConfigError as error:
            raise ReloadRefused([str(problem) for problem in error.problems]) from None
        except (TlsError, OSError, ValueError) as error:
            raise ReloadRefused([str(error)]) from error
        if _written_workers(self._path, self.files) != _written_workers(self._path, self._bound.files):
            needs_restart += ("server.workers",)
        self._log(report.warnings)
        return config, needs_restart

    def _log(self, warnings: Iterable[Problem]) -> None:
        logged, self._logged = self._logged, {(problem.key, problem.message) for problem in warnings}
        for problem in warnings:
            if (problem.key, problem.message) not in logged:
                logger.warning("configuration", problem=str(problem))


def _written_workers(path: Path, files: Files) -> object:
    """Return ``server.workers`` as it stands in the file, whatever the command line says."""
    data = read_document(path, os.environ, files=files).data
    server = data.get("server") if isinstance(data, dict) else None
    return server.get("workers") if isinstance(server, dict) else None


def with_listeners_of(old: Config, new: Config) -> tuple[Config, tuple[str, ...]]:
    """Return ``new`` with what is bound since the start, and the keys in which that is not what it says."""
    kept = {
        "server.listen": new.server.listen != old.server.listen,
        "server.tls": (new.server.tls is None) != (old.server.tls is None),
        "admin.listen": new.admin.listen != old.admin.listen,
    }
    server: dict[str, object] = {"listen": old.server.listen}
    if kept["server.tls"]:
        server["tls"] = old.server.tls
        # The certificate in use is still renewed: its files are not named any more, but may well be there.
        new.files.keep(old.files, _files_of(old.server.tls))
    config = new.model_copy(
        update={
            "server": new.server.model_copy(update=server),
            "admin": new.admin.model_copy(update={"listen": old.admin.listen}),
        }
    )
    return config, tuple(key for key, differs in kept.items() if differs)


def _files_of(tls: ServerTls | None) -> list[Path]:
    named = (tls.certificate, tls.key, tls.client_ca) if tls is not None else ()
    return [path for path in named if path is not None]


T = TypeVar("T")


@dataclass(slots=True)
class Attended:
    """A source that the supervisor reads in a thread, while workers go on asking the hub.

    A large configuration takes a second to read: expressions are compiled, certificates are read. Requests
    would wait for the hub meanwhile.
    """

    source: Readable
    hub: Hub

    def read(self) -> tuple[Config, tuple[str, ...]]:
        """Return the configuration, and the keys that only a restart can bring into use."""
        return attend(self.hub, self.source.read)


def attend(hub: Hub, call: Callable[[], T]) -> T:
    """Return what ``call`` returns, or raise what it raises; serve ``hub`` until then.

    The thread has ended before this returns, because a process that forks may have no threads.
    """
    ended, end = socket.socketpair()
    with ended, end, ThreadPoolExecutor(1, thread_name_prefix="read-configuration") as thread:
        job = thread.submit(call)
        job.add_done_callback(lambda _: end.send(b"\0"))
        hub.serve([ended.fileno()], None)
    return job.result()
