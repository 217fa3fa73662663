"""The health check of the container, against a listener of a real server and against none."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import AF_INET, AF_UNIX, SOCK_STREAM, socket

import pytest

from metaproxy import healthcheck

ALIVE = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


@contextmanager
def listener(family: int, address: tuple[str, int] | str, answer: bytes) -> Iterator[socket]:
    with socket(family, SOCK_STREAM) as listening:
        listening.bind(address)
        listening.listen()

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listening
        thread.join()


def run(admin: str) -> subprocess.CompletedProcess[str]:
    """The check as the Dockerfile runs it: without site-packages."""
    command = [sys.executable, "-I", "-S", healthcheck.__file__]
    environment = {**os.environ, "METAPROXY_ADMIN": admin}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("form", ["{}:{}", "http://{}:{}", "http://{}:{}/"])
def test_a_listener_that_is_alive_is_well(form: str) -> None:
    with listener(AF_INET, ("127.0.0.1", 0), ALIVE) as listening:
        ran = run(form.format(*listening.getsockname()))

    assert (ran.returncode, ran.stderr) == (0, "")


def test_a_unix_socket_is_asked_too(tmp_path: Path) -> None:
    path = f"{tmp_path}/admin.sock"
    with listener(AF_UNIX, path, ALIVE):
        assert healthcheck.problem(f"unix:{path}") == ""


@pytest.mark.parametrize("answer", [b"HTTP/1.1 500 Oops\r\n\r\n", b"", b"SSH-2.0\r\n"])
def test_another_answer_is_a_problem(answer: bytes) -> None:
    with listener(AF_INET, ("127.0.0.1", 0), answer) as listening:
        assert "answered" in healthcheck.problem("{}:{}".format(*listening.getsockname()))


@pytest.mark.parametrize("admin", ["unix:/nowhere/admin.sock", "nonsense", "127.0.0.1:x"])
def test_no_listener_is_a_problem_in_words(admin: str) -> None:
    ran = run(admin)

    assert ran.returncode == 1
    assert ran.stderr.startswith(admin)
