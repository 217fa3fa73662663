"""Continuous integration skips nothing: ``--no-skips`` lets a skipped test fail."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SKIPPED = {
    "by a mark": "@pytest.mark.skip(reason='no tool')\ndef test_a(): pass\n",
    "by a condition": "@pytest.mark.skipif(True, reason='no tool')\ndef test_a(): pass\n",
    "by a fixture": "@pytest.fixture\ndef tool(): pytest.skip('no tool')\ndef test_a(tool): pass\n",
    "by itself": "def test_a(): pytest.skip('no tool')\n",
    "as a file": "pytest.skip('no tool', allow_module_level=True)\n",
    "by an import": "pytest.importorskip('no_such_module', reason='no tool')\n",
}


def outcome(folder: Path, body: str, *options: str) -> tuple[int, str]:
    """Run a test file of ``body`` under the suite's own conftest; return the exit code and the output."""
    (folder / "conftest.py").write_text((ROOT / "tests/conftest.py").read_text())
    (folder / "test_it.py").write_text(f"import pytest\n{body}")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, str(folder)]
    run = subprocess.run(
        command, cwd=folder, env={"PATH": ""}, capture_output=True, text=True, timeout=300, check=False
    )
    return run.returncode, run.stdout + run.stderr


@pytest.mark.parametrize("body", SKIPPED.values(), ids=SKIPPED.keys())
def test_a_skipped_test_fails_with_its_reason(body: str, tmp_path: Path) -> None:
    code, told = outcome(tmp_path, body, "--no-skips")
    assert code != 0
    assert "no tool" in told


def test_a_test_skipped_for_a_reason_that_is_admitted_passes(tmp_path: Path) -> None:
    code, told = outcome(tmp_path, SKIPPED["by itself"], "--no-skips", "--may-skip=no tool")
    assert (code, "1 skipped" in told) == (0, True)


def test_without_the_option_a_test_may_be_skipped(tmp_path: Path) -> None:
    code, told = outcome(tmp_path, SKIPPED["by itself"])
    assert (code, "1 skipped" in told) == (0, True)
