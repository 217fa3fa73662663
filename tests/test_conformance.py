"""config/CONFORMANCE.md names tests that exist, and leaves no requirement without a word."""

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
PAGE = (TESTS.parent / "config" / "CONFORMANCE.md").read_text()
FOLDERS = {
    "c": "unit/caching",
    "e": "e2e",
    "f": "filters",
    "p": "unit/protocol",
    "s": "unit/server",
    "t": "unit/telemetry",
    "u": "unit/forward",
    "w": "unit/cache",
}
NAMED = sorted(set(re.findall(r"`([a-z]+)/(test_\w+\.py)::(test_\w+)`", PAGE)))
ROWS = [line for line in PAGE.splitlines() if re.match(r"\| [\d., ]+ \|", line)]


def names_in(file: Path) -> set[str]:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, functions)}


@pytest.mark.parametrize("standard", ["9110", "9111", "9112", "5861", "9213"])
def test_every_standard_has_its_table(standard: str) -> None:
    assert f"\n## RFC {standard}, " in PAGE


@pytest.mark.parametrize(("folder", "file", "name"), NAMED)
def test_a_test_that_the_page_names_exists(folder: str, file: str, name: str) -> None:
    assert name in names_in(TESTS / FOLDERS[folder] / file)


def test_every_test_is_named_as_the_page_says() -> None:
    assert PAGE.count("::test_") == len(re.findall(r"`[a-z]+/test_\w+\.py::test_\w+`", PAGE))


def test_every_requirement_is_met_or_deviated_from_with_a_word() -> None:
    assert len(ROWS) > 130
    assert [row for row in ROWS if not re.search(r"\| (met|deviation)\b[^|]{3,} \|$", row)] == []
