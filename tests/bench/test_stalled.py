"""The verdict on a load with stalled logs, and the FIFOs that stall them."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.bench.load import Counts
from tests.bench.stalled import Findings, Looks, full_fifo

COUNTS = Counts(
    requests=100, microseconds=10**6, status_errors=0, socket_errors=0, p50=1, p90=1, p99=1, max=1
)
GOOD = Findings(COUNTS, 110, Looks([0.01]), {"access": 7, "event": 1}, exit_status=0, stop_seconds=1.0)


def test_a_run_in_which_nothing_is_lost_is_good() -> None:
    assert GOOD.is_good
    assert "7 of the access log, 1 events" in str(GOOD)


@pytest.mark.parametrize(
    "bad",
    [
        replace(GOOD, ended=99),
        replace(GOOD, ended=117),
        replace(GOOD, counts=replace(COUNTS, status_errors=1)),
        replace(GOOD, counts=replace(COUNTS, socket_errors=1)),
        replace(GOOD, looks=Looks([0.01], unanswered=1)),
        replace(GOOD, exit_status=-9),
    ],
)
def test_a_run_in_which_something_is_lost_is_not(bad: Findings) -> None:
    assert not bad.is_good


def test_a_full_fifo_takes_no_byte(tmp_path: Path) -> None:
    with full_fifo(tmp_path / "fifo") as writer:
        os.set_blocking(writer, False)
        with pytest.raises(BlockingIOError):
            os.write(writer, b"x")
