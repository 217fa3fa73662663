import json
import os
from collections.abc import Iterator

import pytest

from metaproxy.telemetry.access_log import AccessLog, encode_console


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

    log.write({"status": 200, "path": 'a"b\n'})
    log.write({"status": 404})
    log.close()

    lines = os.read(pipe[0], 10000).decode().splitlines()
    assert [json.loads(line) for line in lines] == [{"status": 200, "path": 'a"b\n'}, {"status": 404}]


async def test_nothing_is_written_before_the_batch_is_full_or_old(pipe: tuple[int, int]) -> None:
    log = AccessLog(pipe[1], batch_bytes=40, flush_seconds=3600)
    os.set_blocking(pipe[0], False)

    log.write({"number": 1})
    with pytest.raises(BlockingIOError):
        os.read(pipe[0], 100)
    log.write({"number": "x" * 40})

    assert len(os.read(pipe[0], 1000).splitlines()) == 2


async def test_lines_that_nobody_takes_are_counted_not_fatal(pipe: tuple[int, int]) -> None:
    log = AccessLog(pipe[1])
    os.close(pipe[1])

    log.write({"number": 1})
    log.close()

    assert log.dropped == 1


def test_the_console_shows_what_is_there() -> None:
    assert encode_console({"status": 200, "reason": "", "waits": {}, "bytes": 0}) == b"status=200 bytes=0"
