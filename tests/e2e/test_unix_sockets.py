"""The files of unix sockets: there while a process listens, gone when it has ended, whoever else comes."""

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.e2e.processes import ServerProcess

pytestmark = pytest.mark.e2e


@contextmanager
def started(folder: Path, *, workers: int = 1, more: str = "") -> Iterator[ServerProcess]:
    """Start metaproxy on unix sockets in ``folder``."""
    listen = [f"unix:{folder}/data.sock", *filter(None, [more])]
    settings = {
        "server": {"listen": listen, "workers": workers},
        "admin": {"listen": f"unix:{folder}/admin.sock"},
        "upstream": {"targets": ["http://127.0.0.1:9"]},
        "identity": {"provider": "none"},
        "store": {"url": "redis://127.0.0.1:9/0"} if workers > 1 else {},
    }
    file = folder / "metaproxy.yaml"
    file.write_text(yaml.safe_dump(settings))
    server = ServerProcess(["metaproxy", "serve", "--config", str(file)], folder / "log")
    try:
        yield server
    finally:
        server.stop()


def sockets(folder: Path) -> set[str]:
    """Return the names of the sockets in ``folder``."""
    return {path.name for path in folder.glob("*.sock*")}


def answers(path: Path) -> bool:
    """Say whether a process answers HTTP at ``path``."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        try:
            client.connect(str(path))
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return client.recv(5) == b"HTTP/"
        except OSError:
            return False


ONE = {"data.sock", "admin.sock"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(("workers", "expected"), [(1, ONE), (2, {*ONE, "admin.sock.1"})])
def test_they_are_gone_when_the_process_has_ended(
    tmp_path: Path, number: signal.Signals, workers: int, expected: set[str]
) -> None:
    with started(tmp_path, workers=workers) as server:
        server.until(lambda: all(answers(tmp_path / name) for name in expected))
        assert sockets(tmp_path) == expected

        server.process.send_signal(number)
        assert server.wait() == 0

    assert sockets(tmp_path) == set()


def test_they_are_gone_after_a_start_that_failed(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        started(tmp_path, more=f"127.0.0.1:{taken.getsockname()[1]}") as server,
    ):
        assert server.wait() == 1

    assert sockets(tmp_path) == set()


def test_a_second_process_is_refused_and_takes_nothing_from_the_first(tmp_path: Path) -> None:
    with started(tmp_path) as first:
        first.until(lambda: all(answers(tmp_path / name) for name in ONE))

        with started(tmp_path) as second:
            assert second.wait() == 1
            assert "already in use" in second.output

        assert all(answers(tmp_path / name) for name in ONE)


def test_those_of_a_killed_process_are_replaced(tmp_path: Path) -> None:
    with started(tmp_path) as first:
        first.until(lambda: all(answers(tmp_path / name) for name in ONE))
        first.process.kill()
        first.wait()
    assert sockets(tmp_path) == ONE

    with started(tmp_path) as second:
        second.until(lambda: all(answers(tmp_path / name) for name in ONE))


def test_one_that_another_process_has_put_there_stays(tmp_path: Path) -> None:
    with started(tmp_path) as server:
        server.until(lambda: all(answers(tmp_path / name) for name in ONE))
        for name in ONE:
            (tmp_path / name).unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(tmp_path / "data.sock"))

            server.terminate()
            assert server.wait() == 0

    assert sockets(tmp_path) == {"data.sock"}
