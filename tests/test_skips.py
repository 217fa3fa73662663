"""Continuous integration skips nothing: ``--no-skips`` lets a skipped test fail."""

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SKIPPED = {
    "by a mark": "@pytest.mark.skip(reason='no tool')\ndef test_a(): pass\n",
    "by a condition": "@pytest.mark.skipif(True, reason='no tool')\ndef test_a(): pass\n",
    "by a fixture": "@pytest.fixture\ndef tool(): pytest.skip('no tool')\ndef test_a(tool): pass\n",
    "by itself": "def test_a(): pytest.skip('no tool')\n",
    "as a file": "pytest.skip('no tool', allow_module_level=True)\n",
    "by an import": "pytest.importorskip('no_such_module', reason='no tool')\n",
}


def outcome(folder: Path, bodies: Iterable[str], *options: str) -> tuple[int, str]:
    """Run test files of ``bodies`` under the suite's own conftest; return the exit code and the output."""
    (folder / "conftest.py").write_text((ROOT / "tests/conftest.py").read_text())
    for number, body in enumerate(bodies):
        (folder / f"test_{number}.py").write_text(f"import pytest\n{body}")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, str(folder)]
    run = subprocess.run(
        command, cwd=folder, env={"PATH": ""}, capture_output=True, text=True, timeout=300, check=False
    )
    return run.returncode, run.stdout + run.stderr


def test_a_skipped_test_fails_with_its_reason(tmp_path: Path) -> None:
    options = ("--no-skips", "--continue-on-collection-errors", "--tb=no")
    code, told = outcome(tmp_path, SKIPPED.values(), *options)
    assert code != 0
    assert told.count("skipped, which --no-skips forbids: no tool") == len(SKIPPED)


def test_a_test_skipped_for_a_reason_that_is_admitted_passes(tmp_path: Path) -> None:
    code, told = outcome(tmp_path, [SKIPPED["by itself"]], "--no-skips", "--may-skip=no tool")
    assert (code, "1 skipped" in told) == (0, True)


def test_without_the_option_a_test_may_be_skipped(tmp_path: Path) -> None:
    code, told = outcome(tmp_path, [SKIPPED["by itself"]])
    assert (code, "1 skipped" in told) == (0, True)
