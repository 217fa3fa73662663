"""The processes of a benchmark: one upstream, one Keystone, and the servers that are compared."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench import machine, nginx, settings
from tests.bench.machine import BenchError
from tests.bench.settings import Feature
from tests.ports import HeldPorts
from tests.redis_server import RedisServer

ROOT = Path(__file__).resolve().parents[2]
READY_SECONDS = 30.0
STOP_SECONDS = 15.0
IN_REDIS = {Feature.REDIS, Feature.LEASES}


@dataclass(frozen=True, slots=True)
class Setup:
    """What differs between two configurations of the same server."""

    access_log: bool = True
    rules: int = 1
    workers: int = 1
    store: str = ""
    """The Redis that workers share."""
    feature: Feature | None = None
    """What metaproxy is given to do beside the usual."""
    core: int | None = machine.SERVER_CORE
    """The only core that it runs on; None for any."""


@dataclass(frozen=True, slots=True)
class Server:
    """One running server. ``access_log`` is where its lines go, if it writes any."""

    name: str
    port: int
    pid: int
    access_log: Path | None = None

    def empty_access_log(self) -> None:
        """Throw away the lines so far: a long run must not fill the machine's memory."""
        if self.access_log is not None:
            os.truncate(self.access_log, 0)


class Stand:
    """Starts servers in a folder of their own, and keeps them until it ends: a context manager.

    Servers of the same name and setup are started once.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        self._running = ExitStack()
        self._servers: dict[tuple[str, Setup], Server] = {}

    def __enter__(self) -> "Stand":
        self.upstream = self._start_module("upstream", machine.LOAD_CORE)
        self.keystone = self._start_module("keystone", machine.LOAD_CORE)
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def server(self, name: str, setup: Setup | None = None) -> Server:
        """Return ``nginx``, ``uvicorn``, ``metaproxy`` or ``direct``, which is the upstream itself."""
        setup = setup or Setup()
        key = (name, setup if name in {"nginx", "metaproxy"} else Setup())
        if key not in self._servers:
            self._servers[key] = self._start(name, setup)
        return self._servers[key]

    def fresh(self, name: str, setup: Setup | None = None) -> Server:
        """Return a server that nothing else has used or will use."""
        return self._start(name, setup or Setup())

    def _start(self, name: str, setup: Setup) -> Server:
        match name:
            case "direct":
                return Server("direct", self.upstream.port, self.upstream.pid)
            case "uvicorn":
                return self._start_module("bare", machine.SERVER_CORE, name=name)
            case "nginx":
                return self._start_nginx(setup)
            case "metaproxy":
                return self._start_metaproxy(setup)
        raise BenchError(f"there is no server {name!r}")

    def _start_nginx(self, setup: Setup) -> Server:
        folder, port = self._new_folder("nginx"), self._held_port()
        log = folder / "access.log" if setup.access_log else None
        path = nginx.write_configuration(folder, port=port, upstream_port=self.upstream.port, access_log=log)
        command = [
            machine.program("nginx"),
            "-p",
            str(folder),
            "-e",
            str(folder / "error.log"),
            "-c",
            str(path),
        ]
        return self._run("nginx", command, folder, port, log)

    def _start_metaproxy(self, setup: Setup) -> Server:
        folder, port = self._new_folder("metaproxy"), self._held_port()
        path = settings.write_settings(
            folder,
            port=port,
            upstream_port=self.upstream.port,
            keystone_port=self.keystone.port,
            access_log=setup.access_log,
            rules=setup.rules,
            workers=setup.workers,
            store=setup.store or (self._redis_url() if setup.feature in IN_REDIS else ""),
            feature=setup.feature,
        )
        command = [sys.executable, "-m", "metaproxy", "serve", "--config", str(path)]
        return self._run("metaproxy", command, folder, port, folder / "output", setup.core)

    def _redis_url(self) -> str:
        """Start a Redis on the cores of this process; return its URL."""
        return self._running.enter_context(RedisServer()).url

    def _start_module(self, module: str, core: int, name: str = "") -> Server:
        port = self._held_port()
        command = [sys.executable, "-m", f"tests.bench.{module}", str(port)]
        return self._run(name or module, command, self._new_folder(module), port, core=core)

    def _run(
        self,
        name: str,
        command: list[str],
        folder: Path,
        port: int,
        log: Path | None = None,
        core: int | None = machine.SERVER_CORE,
    ) -> Server:
        pid = self._running.enter_context(_process(machine.pinned(core, *command), folder, port))
        return Server(name, port, pid, log)

    def _held_port(self) -> int:
        return self._running.enter_context(HeldPorts()).first

    def _new_folder(self, name: str) -> Path:
        number = sum(1 for _ in self._folder.iterdir())
        folder = self._folder / f"{number:03d}-{name}"
        folder.mkdir(mode=0o777)
        return folder


@contextmanager
def _process(command: list[str], folder: Path, port: int) -> Iterator[int]:
    """Run ``command`` until the end of the block; yield its process id when it listens on ``port``."""
    # Appended to: after the file has been emptied, the next line goes to its beginning.
    with (folder / "output").open("ab") as output, (folder / "errors").open("ab") as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            start_new_session=True,
        )
    try:
        _until_listening(process, port, folder)
        yield process.pid
    finally:
        _stop(process)


def _until_listening(process: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not _listens(port):
        if process.poll() is not None or time.monotonic() > deadline:
            errors = (folder / "errors").read_text(errors="replace").splitlines()
            raise BenchError(f"{folder.name} does not listen: {' '.join(errors[-3:])}")
        time.sleep(0.02)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
