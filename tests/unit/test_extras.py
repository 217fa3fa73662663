"""The packages of extras are imported where they are switched on, and nowhere else."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "metaproxy"
OF_EXTRAS = {"redis": "store/redis/", "hiredis": "store/redis/", "opentelemetry": "telemetry/spans.py"}
"""Packages that belong to an extra, and the part of metaproxy that may import them."""


def imports(source: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(source.read_text())):
        match node:
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom(module=str(module)):
                yield module


@pytest.mark.parametrize("package", OF_EXTRAS)
def test_a_package_of_an_extra_is_imported_in_one_place(package: str) -> None:
    importers = {
        source.relative_to(PACKAGE).as_posix()
        for source in PACKAGE.rglob("*.py")
        if any(name.partition(".")[0] == package for name in imports(source))
    }
    assert importers
    assert {importer for importer in importers if not importer.startswith(OF_EXTRAS[package])} == set()


WITHOUT_EXTRAS = """
import importlib, pkgutil, sys
for package in ("redis", "hiredis", "opentelemetry"):
    sys.modules[package] = None
import metaproxy
for name in metaproxy.__all__:
    getattr(metaproxy, name)
for module in pkgutil.walk_packages(metaproxy.__path__, "metaproxy."):
    if module.name.startswith("metaproxy.store.redis") or module.name.endswith("__main__"):
        continue
    importlib.import_module(module.name)
    print(module.name)
"""


def test_everything_but_the_shared_store_is_imported_without_any_extra() -> None:
    tried = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRAS], capture_output=True, text=True, timeout=300, check=False
    )
    assert tried.stderr == ""
    assert {"metaproxy.app", "metaproxy.server.run", "metaproxy.demo.run", "metaproxy.wsgi.filter"} <= set(
        tried.stdout.split()
    )
