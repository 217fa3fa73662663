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
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, TypedDict

ROOT = Path(__file__).resolve().parents[2]
IMPORTED = (
    "metaproxy.cli.serve",
    "metaproxy.server.run",
    "metaproxy.demo.compute",
    "metaproxy.demo.identity",
)


class Start(TypedDict):
    """What a process is to be: ``python -m arguments``, in the folder of its output."""

    arguments: Sequence[str]
    output: str
    environment: dict[str, str]


class Forked:
    """A process that the starter has forked, with the part of Popen's interface that tests use."""

    def __init__(self, arguments: Sequence[str], output: Path, environment: dict[str, str]) -> None:
        self.args = list(arguments)
        self.returncode: int | None = None
        output.write_bytes(b"")
        start = Start(arguments=self.args, output=str(output), environment=environment)
        self.pid = int(_starter().ask(start))

    def poll(self) -> int | None:
        """Return the exit status; None while the process runs."""
        if self.returncode is None:
            self.returncode = _starter().ask(self.pid)
        return self.returncode

    def wait(self, timeout: float) -> int:
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


class _Starter:
    """The process that forks, asked over its standard input and output."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        self._one_at_a_time = threading.Lock()

    def ask(self, question: Start | int) -> Any:
        """Start a process and return its number, or return the exit status of the one with that number."""
        with self._one_at_a_time:
            if self._process.stdin is None or self._process.stdout is None:
                raise RuntimeError("the starter has no pipes")
            print(json.dumps(question), file=self._process.stdin, flush=True)
            return json.loads(self._process.stdout.readline())

    def stop(self) -> None:
        self._process.communicate()


@cache
def _starter() -> _Starter:
    starter = _Starter()
    atexit.register(starter.stop)
    return starter


def _exit_status(process_id: int) -> int | None:
    ended, status = os.waitpid(process_id, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def _next_start() -> Start:
    """Answer questions; return in each process that is forked, with what it is to be."""
    for line in sys.stdin:
        question: Start | int = json.loads(line)
        if isinstance(question, int):
            answer = _exit_status(question)
        elif not (answer := os.fork()):
            return question
        print(json.dumps(answer), flush=True)
    sys.exit()


def _become(start: Start) -> None:
    os.setsid()
    os.chdir(Path(start["output"]).parent)
    os.environ.clear()
    os.environ.update(start["environment"])
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(os.open(start["output"], os.O_WRONLY), 1)
    os.dup2(1, 2)
    os.closerange(3, 64)
    module, *sys.argv[1:] = start["arguments"]
    if module != "metaproxy":
        del sys.modules[module]  # runpy warns of a module that has been imported before
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    for name in IMPORTED:
        import_module(name)
    gc.freeze()
    _become(_next_start())
