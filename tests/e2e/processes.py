"""Server processes of a test's own: started over free ports, their output kept, always ended."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.starting import Forked

ROOT = Path(__file__).resolve().parents[2]
READY_SECONDS = 90.0
STOP_SECONDS = 90.0


class ServerProcess:
    """``python -m …`` with its output in a file, so that no pipe can fill up and block it."""

    process: "subprocess.Popen[bytes] | Forked"

    def __init__(self, arguments: Sequence[str], output: Path) -> None:
        self._output = output
        with output.open("wb") as file:
            if arguments[0].startswith("metaproxy"):
                self.process = Forked(
                    arguments, folder=output.parent, stdout=file.fileno(), stderr=file.fileno()
                )
                return
            self.process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                cwd=output.parent,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        """All that the process has written so far."""
        return self._output.read_text(errors="replace")

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait until ``condition`` holds; AssertionError with the output where the process ends before."""
        wait_until(lambda: condition() or self.process.poll() is not None, what=f"{self.process.args!r}")
        assert condition(), f"ended with {self.process.poll()}:\n{self.output}"

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.process.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        """Wait until the process has ended, and return its exit status."""
        return self.process.wait(STOP_SECONDS)

    def stop(self) -> None:
        """End the process if it still runs: politely, then not."""
        if self.process.poll() is None:
            self.terminate()
            try:
                self.wait()
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.wait()


def wait_until(condition: Callable[[], bool], *, what: str, seconds: float = READY_SECONDS) -> None:
    """Poll ``condition`` until it holds; AssertionError after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain for {what}"
        time.sleep(0.01)


def accepts(port: int) -> bool:
    """Say whether somebody listens on ``port`` of the loopback interface."""
    with socket.socket() as client:
        client.settimeout(5)
        return client.connect_ex(("127.0.0.1", port)) == 0


def children(process_id: int) -> list[int]:
    """Return the processes that a process has started and that have not ended, oldest first."""
    listing = Path(f"/proc/{process_id}/task/{process_id}/children")
    return [int(word) for word in listing.read_text().split() if not gone(int(word))]


def descendants(process_id: int) -> list[int]:
    """Return the processes that a process has started, and those that they have, oldest first."""
    listing = Path(f"/proc/{process_id}/task/{process_id}/children")
    children = [int(word) for word in listing.read_text().split()]
    return children + [grandchild for child in children for grandchild in descendants(child)]


def gone(process_id: int) -> bool:
    """Say whether a process has ended; one that its parent has not yet waited for has."""
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@contextmanager
def demo_service(module: str, folder: Path, *arguments: str) -> Iterator[str]:
    """Run one of the demo's services; yield its URL."""
    server = ServerProcess([f"metaproxy.demo.{module}", "--port", "0", *arguments], folder / f"{module}.log")
    try:
        server.until(lambda: server.output.startswith("http://") and server.output.endswith("\n"))
        yield server.output.strip()
    finally:
        server.stop()
