import json
import os
from collections.abc import Iterator

import msgspec
import pytest

from metaproxy.telemetry.access_log import AccessLog, encode_console


class Line(msgspec.Struct):
    status: int
    path: str = ""
    waits: dict[str, float] = {}


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for descriptor in (reader, writer):
        try:
            os.close(descriptor)
        except OSError:
            continue


async def test_lines_are_json_in_order(pipe: tuple[int, int]) -> None:
    log = AccessLog(pipe[1])

    log.write(Line(200, 'a"b\n', {"upstream": 0.5}))
    log.write(Line(404))
    await log.close()

    lines = os.read(pipe[0], 10000).decode().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"status": 200, "path": 'a"b\n', "waits": {"upstream": 0.5}},
        {"status": 404, "path": "", "waits": {}},
    ]


@pytest.mark.parametrize(
    "char", ["\x1b", "\x7f", "\x85", "\x9b", "\u2028", "\u202e", "\U000e0001", "é", "中"]
)
async def test_what_is_not_printable_is_escaped_in_json(pipe: tuple[int, int], char: str) -> None:
    log = AccessLog(pipe[1])

    log.write(Line(400, f"/{char}2J"))
    log.write(Line(200, "/plain"))
    await log.close()

    written = os.read(pipe[0], 10000).decode()
    assert (char in written) is char.isprintable()
    assert [json.loads(line)["path"] for line in written.split("\n")[:-1]] == [f"/{char}2J", "/plain"]


async def test_nothing_is_written_before_the_batch_is_full_or_old(pipe: tuple[int, int]) -> None:
    log = AccessLog(pipe[1], batch_lines=2, flush_seconds=3600)
    os.set_blocking(pipe[0], False)

    log.write(Line(200))
    with pytest.raises(BlockingIOError):
        os.read(pipe[0], 100)
    log.write(Line(201))

    assert len(os.read(pipe[0], 1000).splitlines()) == 2
    await log.close()


async def test_an_old_line_is_written_though_the_batch_is_not_full(pipe: tuple[int, int]) -> None:
    log = AccessLog(pipe[1], flush_seconds=3600)

    log.write(Line(200))
    log.flush_old()

    assert len(os.read(pipe[0], 1000).splitlines()) == 1


async def test_lines_that_nobody_takes_are_counted_not_fatal(pipe: tuple[int, int]) -> None:
    log = AccessLog(pipe[1])
    os.close(pipe[1])

    log.write(Line(200))
    await log.close()

    assert log.dropped == 1


async def test_a_line_that_is_no_text_is_lost_alone_and_counted(pipe: tuple[int, int]) -> None:
    log = AccessLog(pipe[1])

    for path in ("/before", "/\udcff", "/after"):
        log.write(Line(200, path))
    await log.close()

    lines = os.read(pipe[0], 10000).decode().splitlines()
    assert [json.loads(line)["path"] for line in lines] == ["/before", "/after"]
    assert log.dropped == 1


def test_the_console_shows_what_is_there() -> None:
    assert encode_console([Line(0), Line(200, "/a")]) == b"status=0\nstatus=200 path=/a\n"
