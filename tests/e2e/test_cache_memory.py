"""The bound on the cache's memory, as the operating system counts."""

import re
import subprocess
import sys

import pytest

from tests.e2e.processes import ROOT

pytestmark = pytest.mark.e2e


def test_however_much_is_offered_the_process_stays_under_the_bound() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "tests.bench.cache_memory", "100000", "32"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    ).stdout

    grown = re.search(r"memory grew by ([\d.]+) MiB", told)
    assert grown is not None, told
    assert float(grown[1]) < 32 * 1.1, told
