"""What users may build on: complete, typed, and cheap to import."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import metaproxy

ROOT = Path(__file__).resolve().parents[2]
FACE = ast.parse((ROOT / "metaproxy/__init__.py").read_text())
USED_BY_THE_TYPED_EXAMPLE = ast.parse((ROOT / "tests/typing/api.py").read_text())


def imported_from_metaproxy(tree: ast.AST) -> dict[str, str]:
    """Every name that ``tree`` imports from the package, with its module."""
    return {
        alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("metaproxy")
        for alias in node.names
    }


@pytest.mark.parametrize("name", metaproxy.__all__)
def test_a_public_name_is_what_type_checkers_are_told(name: str) -> None:
    public = getattr(metaproxy, name)
    home = sys.modules[imported_from_metaproxy(FACE)[name]]
    assert public is getattr(home, name)


def test_type_checkers_are_told_of_every_public_name_and_no_other() -> None:
    assert set(imported_from_metaproxy(FACE)) == set(metaproxy.__all__)


def test_every_public_name_is_used_in_the_typed_example() -> None:
    used = set(imported_from_metaproxy(USED_BY_THE_TYPED_EXAMPLE))
    assert set(metaproxy.__all__) - used == {"__version__"}


def test_public_names_are_listed_before_they_are_used() -> None:
    assert set(metaproxy.__all__) <= set(dir(metaproxy))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Authenicate'"):
        _ = metaproxy.Authenicate  # type: ignore[attr-defined]  # the misspelling is the test


def test_importing_the_package_imports_nothing_heavy() -> None:
    script = "import sys, metaproxy; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"httpx", "pydantic", "starlette", "asyncio", "uvicorn"} & set(loaded)


@pytest.mark.parametrize("stage", ["Authenticate", "RateLimit", "MetadataCache"])
def test_a_stage_alone_brings_neither_configuration_nor_server(stage: str) -> None:
    script = f"import sys; from metaproxy import {stage}; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"uvicorn", "yaml", "typer"} & set(loaded)


TWO_HOMES = {
    "Identity": "admin/status.py says what the operator sees of the identity service",
    "Limits": "admin/limits.py and cli/answers.py say what the operator sees of the limits",
}
"""Public names that another file of the package defines as well, and why."""


def test_a_public_name_has_one_home() -> None:
    homes: dict[str, set[str]] = {name: set() for name in metaproxy.__all__}
    for source in (ROOT / "metaproxy").rglob("*.py"):
        for node in ast.parse(source.read_text()).body:
            match node:
                case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                    defined = name
                case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                    defined = name
                case _:
                    continue
            if defined in homes:
                homes[defined].add(str(source))

    assert {name for name, files in homes.items() if len(files) > 1} == set(TWO_HOMES)
