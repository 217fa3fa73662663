"""What stands in deploy/, read for the tests."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


def documents(path: str) -> list[dict[str, Any]]:
    """Every document of a YAML file in deploy/."""
    return list(yaml.safe_load_all((DEPLOY / path).read_text()))


def kubernetes() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every Kubernetes object, with its file's name."""
    for path in sorted((DEPLOY / "kubernetes").glob("*.yaml")):
        for document in documents(f"kubernetes/{path.name}"):
            yield path.name, document
