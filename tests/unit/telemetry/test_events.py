"""The event log and its document: LOGGING.md explains each event."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DOCUMENT = (ROOT / "config" / "LOGGING.md").read_text(encoding="utf-8")
LEVELS = {"info", "warning", "error", "critical"}


def events() -> Iterator[tuple[str, str]]:
    """Yield each event that a module logs by a constant name, and the module."""
    for module in sorted((ROOT / "metaproxy").rglob("*.py")):
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in LEVELS
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id == "logger"
                and node.args
                and isinstance(node.args[0], ast.Constant)
            ):
                yield str(node.args[0].value), str(module.relative_to(ROOT))


@pytest.mark.parametrize(("event", "module"), sorted(set(events())))
def test_the_document_explains_each_event(event: str, module: str) -> None:
    assert f"`{event}`" in DOCUMENT, f"{module} logs {event!r}, which config/LOGGING.md does not explain"
