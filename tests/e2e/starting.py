"""Processes that begin with the package imported, because an import takes two seconds of a core.

One process for each worker of the suite imports the package and forks itself for every start. Each fork is a
process like any other: it has its own session, descriptors, environment and arguments. The tests in
``install/``, ``deploy/test_image.py`` and ``test_lifecycle.py`` start the interpreter itself.
"""

import atexit
import gc
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, TypedDict

ROOT = Path(__file__).resolve().parents[2]
IMPORTED = (
    "metaproxy.cli.serve",
    "metaproxy.server.run",
    "metaproxy.demo.compute",
    "metaproxy.demo.identity",
)
RUN_SECONDS = 300
MAX_QUESTION_BYTES = 2**17
STANDARD = 3
"""The descriptors that every process has, and that a start hands over."""


class Start(TypedDict):
    """``python -m arguments`` in ``folder``."""

    arguments: Sequence[str]
    folder: str
    environment: Mapping[str, str]


class Forked:
    """A process that the starter has forked, with the part of Popen's interface that tests use."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        folder: Path,
        stdout: int,
        stderr: int,
        stdin: int | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.args = list(arguments)
        self.returncode: int | None = None
        start = Start(arguments=self.args, folder=str(folder), environment=dict(environment or os.environ))
        with Path(os.devnull).open() as nothing:
            standard = (nothing.fileno() if stdin is None else stdin, stdout, stderr)
            self.pid = int(_starter().ask(start, standard))

    def poll(self) -> int | None:
        """Return the exit status; None while the process runs."""
        if self.returncode is None:
            self.returncode = _starter().ask(self.pid)
        return self.returncode

    def wait(self, timeout: float = RUN_SECONDS) -> int:
        """Wait for the end and return the exit status; raise subprocess.TimeoutExpired without one."""
        deadline = time.monotonic() + timeout
        while (status := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(self.args, timeout)
            time.sleep(0.01)
        return status

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process is known to have ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


def run(
    *arguments: str, folder: Path = ROOT, said: str = "", environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run ``metaproxy arguments`` to its end; ``said`` is its standard input."""
    with TemporaryFile("w+") as stdin, TemporaryFile("w+") as stdout, TemporaryFile("w+") as stderr:
        stdin.write(said)
        stdin.seek(0)
        process = Forked(
            ["metaproxy", *arguments],
            folder=folder,
            stdin=stdin.fileno(),
            stdout=stdout.fileno(),
            stderr=stderr.fileno(),
            environment=environment,
        )
        status = process.wait()
        stdout.seek(0)
        stderr.seek(0)
        return subprocess.CompletedProcess(process.args, status, stdout.read(), stderr.read())


class _Starter:
    """The process that forks, asked over a socket, which hands descriptors over."""

    def __init__(self) -> None:
        self._socket, its_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with its_end:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(its_end.fileno())],
                stdin=subprocess.DEVNULL,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                pass_fds=[its_end.fileno()],
            )
        self._one_at_a_time = threading.Lock()

    def ask(self, question: Start | int, descriptors: Sequence[int] = ()) -> Any:
        """Start a process and return its number, or return the exit status of the one with that number."""
        with self._one_at_a_time:
            socket.send_fds(self._socket, [json.dumps(question).encode()], descriptors)
            return json.loads(self._socket.recv(MAX_QUESTION_BYTES))

    def stop(self) -> None:
        self._socket.close()
        self._process.wait()


@cache
def _starter() -> _Starter:
    starter = _Starter()
    atexit.register(starter.stop)
    return starter


def _exit_status(process_id: int) -> int | None:
    ended, status = os.waitpid(process_id, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def _next_start(asked: socket.socket) -> tuple[Start, list[int]]:
    """Answer questions; return in each process that is forked, with what it is to be and its descriptors."""
    while True:
        message, descriptors, _, _ = socket.recv_fds(asked, MAX_QUESTION_BYTES, STANDARD)
        if not message:
            sys.exit()
        question: Start | int = json.loads(message)
        if isinstance(question, int):
            answer = _exit_status(question)
        elif not (answer := os.fork()):
            return question, descriptors
        for descriptor in descriptors:
            os.close(descriptor)
        asked.send(json.dumps(answer).encode())


def _become(start: Start, descriptors: Sequence[int]) -> None:
    os.setsid()
    os.chdir(start["folder"])
    os.environ.clear()
    os.environ.update(start["environment"])
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
    os.closerange(STANDARD, 64)
    module, *sys.argv[1:] = start["arguments"]
    if module != "metaproxy":
        del sys.modules[module]  # runpy warns of a module that has been imported before
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    for name in IMPORTED:
        import_module(name)
    gc.freeze()
    _become(*_next_start(socket.socket(fileno=int(sys.argv[1]))))
