"""The rules of the house that no other tool holds."""

import ast
import io
import re
import shutil
import subprocess
import sys
import tokenize
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "metaproxy"
TESTS = ROOT / "tests"
SOURCES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")
MAX_LINES = 400
SOCKET = re.compile(r"\b(socket\.socket|create_server)\(")

TOP_LEVEL = {
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "Makefile",
    "metaproxy",
    "tests",
    "config",
    "deploy",
}

TESTED_THROUGH = {
    "__main__.py": "e2e/test_lifecycle.py",
    "admin/": "e2e/test_demo.py",
    "cache/": "filters/test_cache.py",
    "cli/": "unit/test_cli.py",
    "config/": "unit/config/test_load.py",
    "demo/operations.py": "unit/demo/test_compute.py",
    "demo/representations.py": "unit/demo/test_compute.py",
    "demo/run.py": "e2e/test_demo.py",
    "demo/children.py": "e2e/test_demo.py",
    "demo/leash.py": "e2e/test_demo.py",
    "fast_lane/": "unit/fast_lane/test_lane.py",
    "filters/refusals.py": "filters/test_limit.py",
    "forward/call.py": "filters/test_forward.py",
    "forward/engine/": "unit/forward/test_client.py",
    "forward/instruments.py": "filters/test_forward.py",
    "identity/keystone_v2_token.py": "unit/identity/test_keystone_v2.py",
    "identity/keystone_v3_token.py": "unit/identity/test_keystone_v3.py",
    "identity/token_cache.py": "unit/identity/test_cached.py",
    "settings/": "unit/config/test_units.py",
    "server/": "e2e/test_lifecycle.py",
    "store/holding.py": "unit/store/test_slices.py",
    "telemetry/channel.py": "unit/telemetry/test_outlet.py",
    "telemetry/descriptors.py": "e2e/test_logs.py",
    "wsgi/": "wsgi/test_filter.py",
    "server/workers.py": "e2e/test_workers.py",
    "preflight/": "unit/preflight/test_dangers.py",
    "store/": "unit/store/test_redis.py",
}
"""Files and folders of which no test imports every one, and the test that shows them at work from outside."""


def name(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


@cache
def imported_by_tests() -> frozenset[str]:
    """Every name that a test imports from the project; a module is among them by its dotted name."""
    return frozenset(
        dotted
        for test in TESTS.rglob("*.py")
        for node in ast.walk(ast.parse(test.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module
        for dotted in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))
    )


@pytest.mark.parametrize("source", sorted(PACKAGE.rglob("*.py")), ids=name)
def test_a_source_file_is_short(source: Path) -> None:
    assert len(source.read_text().splitlines()) <= MAX_LINES


def test_every_source_file_is_tested_by_name_or_through_another() -> None:
    unnamed = [name(source) for source in SOURCES if module(source) not in imported_by_tests()]
    assert [source for source in unnamed if not source.startswith(tuple(TESTED_THROUGH))] == []


@pytest.mark.parametrize(("tested", "through"), TESTED_THROUGH.items())
def test_what_is_tested_through_another_is_there(tested: str, through: str) -> None:
    assert (PACKAGE / tested).exists()
    assert (TESTS / through).is_file()


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="a package's source has no repository around it")
def test_the_top_level_holds_what_belongs_there() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    names = {path.partition("/")[0] for path in listed}
    assert {entry for entry in names if not entry.startswith(".")} <= TOP_LEVEL


def test_imports_run_one_way() -> None:
    command = shutil.which("lint-imports", path=Path(sys.executable).parent)
    assert command is not None
    checked = subprocess.run([command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_whole_package_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()


RIDDLE = re.compile(r"(?:\A|[.!?]['\"`)]*\s+|\n\s*\n\s*)(What|Who|Whoever|Whether|Where)\b")
"""The start of a sentence whose subject is a clause: its reader must solve it before reading on."""


def riddles(source: str) -> list[str]:
    """Return the sentences of docstrings and comments that begin with a clause in place of a noun or verb."""
    docstrings = [
        node.value.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if isinstance(node.value.value, str)
    ]
    comments: dict[int, str] = {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            line, text = token.start[0], token.string.lstrip("# ")
            comments[line] = f"{comments.pop(line - 1)}\n{text}" if line - 1 in comments else text
    return [
        text[found.start(1) :]
        for text in (*docstrings, *comments.values())
        for found in RIDDLE.finditer(text)
    ]


@pytest.mark.parametrize("source", sorted(PACKAGE.rglob("*.py")), ids=name)
def test_sentences_begin_with_a_noun_or_a_verb(source: Path) -> None:
    assert riddles(source.read_text()) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('"""What it does."""', ["What it does."]),
        ("# It is so. Where it is not,\n# it is asked.", ["Where it is not,\nit is asked."]),
        ('"""Return what it does, if who asks may know."""\n# Somewhere else.', []),
    ],
)
def test_a_sentence_that_begins_with_a_clause_is_found(text: str, found: list[str]) -> None:
    assert riddles(text) == found


def forgotten_ports(source: Path) -> list[int]:
    """The lines of functions that return a port that is not bound any more.

    That is a port by chance, or the port of a socket that a ``with`` statement of the function closes.
    """
    return [
        function.lineno
        for function in ast.walk(ast.parse(source.read_text()))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) and lets_its_socket_go(function)
    ]


def lets_its_socket_go(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    nodes, text = list(ast.walk(function)), ast.unparse(function)
    if not any(isinstance(node, ast.Return) and node.value is not None for node in nodes):
        return False
    closed = any(isinstance(node, ast.With) and SOCKET.search(ast.unparse(node)) for node in nodes)
    is_chance = re.search(r"(^|_)ports?(_|$)", function.name) is not None and "random." in text
    return (closed and "getsockname" in text) or is_chance


def test_no_port_is_chosen_before_it_is_bound() -> None:
    sources = [*TESTS.rglob("*.py"), *PACKAGE.rglob("*.py")]
    found = {str(source): lines for source in sources if (lines := forgotten_ports(source))}

    assert found == {}


@pytest.mark.parametrize("opened", ["socket.socket()", "socket.create_server(('', 0))"])
def test_a_port_that_is_let_go_before_it_is_used_is_found(tmp_path: Path, opened: str) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text(
        f"def any_port():\n    with {opened} as probe:\n        port = probe.getsockname()\n    return port\n"
    )

    assert forgotten_ports(bad) == [1]
