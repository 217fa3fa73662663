"""Logs whose reader stalls, leaves or has no room: requests go on, and so does the operator's listener."""

import json
import os
import pty
import re
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.e2e.processes import STOP_SECONDS, wait_until
from tests.e2e.stalled import close_all, logging_proxy

pytestmark = pytest.mark.e2e

MORE_THAN_WAITS = 20_000
"""Requests whose lines are more than the process holds for a slow reader."""
MORE_THAN_A_PIPE = 600
"""Requests whose lines are more than the kernel holds in a pipe."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path: those of sockets are bounded."""
    with tempfile.TemporaryDirectory(prefix="mp-") as name:
        yield Path(name)


def stalled_pipe(_folder: Path) -> tuple[int, ...]:
    reader, writer = os.pipe()
    return writer, reader


def stalled_fifo(folder: Path) -> tuple[int, ...]:
    path = folder / "fifo"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    return os.open(path, os.O_WRONLY), reader


def stalled_socket(_folder: Path) -> tuple[int, ...]:
    writer, reader = socket.socketpair()
    return writer.detach(), reader.detach()


def stalled_terminal(_folder: Path) -> tuple[int, ...]:
    reader, writer = pty.openpty()
    return writer, reader


def left_pipe(_folder: Path) -> tuple[int, ...]:
    reader, writer = os.pipe()
    os.close(reader)
    return (writer,)


def left_socket(_folder: Path) -> tuple[int, ...]:
    writer, reader = socket.socketpair()
    reader.close()
    return (writer.detach(),)


def full_disk(_folder: Path) -> tuple[int, ...]:
    return (os.open("/dev/full", os.O_WRONLY),)


class Reading:
    """Reads a descriptor to its end, in the background; a context manager that waits for the end."""

    def __init__(self, descriptor: int) -> None:
        self._file = os.fdopen(descriptor, "rb")
        self._content = b""
        self._thread = threading.Thread(target=self._read)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.join(STOP_SECONDS)
        self._file.close()

    def _read(self) -> None:
        self._content = self._file.read()

    def lines(self) -> list[str]:
        """What was read, without what the last line lacks."""
        return self._content.decode().splitlines()


CONSOLE: dict[str, object] = {"format": "console"}

STALLED = [stalled_pipe, stalled_fifo, stalled_socket, stalled_terminal]
LOST = [left_pipe, left_socket, full_disk]
Kind = Callable[[Path], tuple[int, ...]]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("kind", STALLED)
def test_readers_of_both_logs_that_stall_hold_nothing_up(folder: Path, kind: Kind, workers: int) -> None:
    ends = kind(folder)
    try:
        with logging_proxy(folder, ends[0], ends[0], server={"workers": workers}) as proxy:
            answered = proxy.ask(MORE_THAN_A_PIPE)
            health = proxy.operator("/healthz").status_code
            status = proxy.terminate()
    finally:
        close_all(ends)
    assert (answered, health, status) == (MORE_THAN_A_PIPE, 200, 0)


@pytest.mark.parametrize("kind", LOST)
def test_lines_that_cannot_be_written_are_counted_and_nothing_else_fails(folder: Path, kind: Kind) -> None:
    ends = kind(folder)
    try:
        with logging_proxy(folder, ends[0], ends[0]) as proxy:
            answered = proxy.ask(MORE_THAN_A_PIPE)
            wait_until(lambda: proxy.dropped("access") == answered, what="every line to be counted")
            events = proxy.dropped("event")
            status = proxy.terminate()
    finally:
        close_all(ends)
    assert events > 0
    assert status == 0


def test_descriptors_that_are_closed_at_the_start_take_no_line_and_no_connection(folder: Path) -> None:
    with logging_proxy(folder, None, None) as proxy:
        answered = proxy.ask(MORE_THAN_A_PIPE)
        wait_until(lambda: proxy.dropped("access") == answered, what="every line to be counted")
        status = proxy.terminate()
    assert status == 0


def test_a_reader_that_comes_back_gets_whole_lines_and_the_number_of_those_that_are_missing(
    folder: Path,
) -> None:
    reader, writer = os.pipe()
    events = folder / "events"
    with events.open("wb") as file, logging_proxy(folder, writer, file.fileno()) as proxy:
        os.close(writer)
        asked = proxy.ask(MORE_THAN_WAITS)
        dropped = proxy.dropped("access")
        with Reading(reader) as access:
            wait_until(lambda: "written again" in events.read_text(), what="the word that all is well")
            asked += proxy.ask(100)
            dropped_at_the_end = proxy.dropped("access")
            assert proxy.terminate() == 0
        lines = access.lines()
    told = [json.loads(line) for line in events.read_text().splitlines()]
    assert dropped > 0
    assert len(lines) + dropped_at_the_end == asked
    assert {json.loads(line)["status"] for line in lines} == {401}
    assert [event["event"] for event in told if "log lines" in event["event"]] == [
        "log lines are dropped",
        "log lines are written again",
    ]
    assert [event.get("dropped") for event in told if "again" in event["event"]] == [dropped_at_the_end]


def test_long_lines_of_several_workers_stay_whole_in_one_pipe(folder: Path) -> None:
    reader, writer = os.pipe()
    path = "/" + "x" * 6000  # a line longer than what a pipe takes in one piece
    with logging_proxy(folder, writer, writer, server={"workers": 2}) as proxy, Reading(reader) as read:
        os.close(writer)
        clients = [threading.Thread(target=proxy.ask, args=(100, path)) for _ in range(6)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        assert proxy.terminate() == 0
    lines = [json.loads(line) for line in read.lines()]
    assert [line["path"] for line in lines if line["event"] == "request"] == [path] * 600


def test_a_path_cannot_forge_a_line_a_field_or_reach_the_terminal(folder: Path) -> None:
    reader, writer = os.pipe()
    with (
        logging_proxy(folder, writer, writer, logging=CONSOLE) as proxy,
        Reading(reader) as read,
    ):
        os.close(writer)
        proxy.ask(1, "/a%0atime=1%20event=request%20status=200")
        proxy.ask(1, "/%1b%5b31m%20status=999")
        assert proxy.terminate() == 0
    lines = [line for line in read.lines() if "event=request" in line]
    unquoted = [re.sub(r'"(?:[^"\\]|\\.)*"', "", line) for line in lines]
    assert [line.count(" status=") for line in unquoted] == [1, 1]
    assert "\x1b" not in "".join(read.lines())
    assert 'path="/\\u001b[31m status=999"' in lines[1]
