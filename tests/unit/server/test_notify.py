import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from metaproxy.server.notify import Notifier


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.settimeout(5)
        yield receiver


def test_states_are_sent_in_the_words_of_sd_notify(systemd: socket.socket, tmp_path: Path) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")})

    notifier.ready()
    notifier.reloading()
    notifier.stopping()
    notifier.alive()

    got = [systemd.recv(4096).decode() for _ in range(4)]
    assert (got[0], got[2], got[3]) == ("READY=1", "STOPPING=1", "WATCHDOG=1")
    assert got[1].startswith("RELOADING=1\nMONOTONIC_USEC=")


def test_an_abstract_socket_is_meant_by_an_at_sign() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(f"\0metaproxy-test-{os.getpid()}")
        receiver.settimeout(5)

        Notifier({"NOTIFY_SOCKET": f"@metaproxy-test-{os.getpid()}"}).ready()

        assert receiver.recv(4096) == b"READY=1"


def test_without_systemd_nothing_is_sent_and_nothing_fails() -> None:
    notifier = Notifier({})

    notifier.ready()

    assert notifier.alive_every is None


def test_a_socket_that_is_gone_does_no_harm(tmp_path: Path) -> None:
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready()


@pytest.mark.parametrize(
    ("pid", "every"), [(str(os.getpid()), 15.0), ("", 15.0), ("1", None)], ids=["ours", "any", "another's"]
)
def test_a_sign_of_life_is_given_twice_as_often_as_it_is_waited_for(pid: str, every: float | None) -> None:
    environ = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": pid}

    assert Notifier(environ).alive_every == every


def test_the_variables_are_not_passed_on() -> None:
    environ = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "HOME": "/"}

    Notifier(environ)

    assert environ == {"HOME": "/"}
