import fcntl
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from metaproxy.telemetry.channel import PIECE_BYTES, channel_to
from metaproxy.telemetry.outlet import Feed, Outlet
from metaproxy.telemetry.standard import LineStream

LINE = b"x" * 99 + b"\n"


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    yield reader, writer
    for descriptor in (reader, writer):
        try:
            os.close(descriptor)
        except OSError:
            continue


def test_what_a_slow_reader_leaves_waits_and_is_bounded_in_bytes(pipe: tuple[int, int]) -> None:
    outlet = Outlet(pipe[1], max_bytes=1000)
    feed = outlet.feed("access")

    for _ in range(100):
        feed.write(LINE)

    assert outlet.waiting_bytes == 1000
    assert feed.dropped == 100 - 40 - 10


def test_a_reader_that_comes_back_gets_what_waited_and_what_comes_then(pipe: tuple[int, int]) -> None:
    outlet = Outlet(pipe[1], max_bytes=1000)
    feed = outlet.feed("access")
    for number in range(100):
        feed.write(b"%099d\n" % number)

    read = os.read(pipe[0], 10_000)
    feed.write(b"last\n")
    read += os.read(pipe[0], 10_000)

    assert [int(line) for line in read.splitlines()[:-1]] == list(range(50))
    assert read.splitlines()[-1] == b"last"


def test_the_beginning_and_the_end_of_a_loss_are_reported_once(pipe: tuple[int, int]) -> None:
    reports: list[tuple[str, int]] = []

    def report(feed: Feed) -> None:
        reports.append((feed.reason, feed.missing))

    feed = Outlet(pipe[1], max_bytes=1000).feed("access", report=report)
    for _ in range(100):
        feed.write(LINE)
    os.read(pipe[0], 10_000)
    feed.write(LINE)
    feed.write(LINE)

    assert reports == [("the reader is too slow", 1), ("", 50)]


def test_the_descriptor_itself_stays_as_others_opened_it(pipe: tuple[int, int]) -> None:
    Outlet(pipe[1]).feed("access").write(LINE)

    assert not fcntl.fcntl(pipe[1], fcntl.F_GETFL) & os.O_NONBLOCK


def test_a_line_that_a_full_disk_cut_is_completed_before_the_next(tmp_path: Path) -> None:
    path = tmp_path / "log"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    feed = Outlet(descriptor).feed("access")
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (250, before[1]))
        feed.write(LINE * 5)
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        feed.write(b"next\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
        os.close(descriptor)

    assert path.read_bytes() == LINE * 3 + b"next\n"
    assert feed.dropped == 2


def test_another_process_that_is_inside_a_line_is_waited_for_without_blocking(pipe: tuple[int, int]) -> None:
    ready, release = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        fcntl.lockf(pipe[1], fcntl.LOCK_EX)
        os.write(ready[1], b"x")
        os.read(release[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    outlet = Outlet(pipe[1])

    outlet.feed("access").write(LINE)
    waited = outlet.waiting_bytes
    os.write(release[1], b"x")
    os.waitpid(child, 0)

    assert waited == len(LINE)
    assert outlet.push()
    for descriptor in (*ready, *release):
        os.close(descriptor)


def test_a_forked_process_does_not_write_what_its_parent_has_yet_to_write(pipe: tuple[int, int]) -> None:
    outlet = Outlet(pipe[1])
    feed = outlet.feed("access")
    for _ in range(50):
        feed.write(LINE)

    outlet.forget()

    assert outlet.waiting_bytes == 0
    assert feed.dropped == 0


def test_a_text_stream_writes_whole_lines(pipe: tuple[int, int]) -> None:
    stream = LineStream(Outlet(pipe[1]).feed("event"), pipe[1])

    print("a", "b", file=stream, end="")
    stream.write("c\nd")
    written = os.read(pipe[0], 100)
    stream.flush()

    assert written == b"a bc\n"
    assert os.read(pipe[0], 100) == b"d\n"


def test_an_empty_pipe_takes_what_it_can_hold_in_one_write_and_a_used_one_an_atomic_write(
    pipe: tuple[int, int],
) -> None:
    reader, writer = pipe
    capacity = fcntl.fcntl(writer, fcntl.F_GETPIPE_SZ)
    channel = channel_to(writer)
    empty = channel.most_bytes()

    written = channel.write(memoryview(b"x" * capacity))
    used = channel.most_bytes()
    os.read(reader, capacity)

    assert (empty, written, used) == (capacity, capacity, PIECE_BYTES)
    assert channel.most_bytes() == capacity
