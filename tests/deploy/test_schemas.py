"""What stands in deploy/, as those who read it have it: Docker, compose, Kubernetes."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.files import DEPLOY

FOREIGN = {"kustomization.yaml", "podmonitor.yaml"}
"""Kinds that Kubernetes itself does not know."""
OBJECTS = sorted(path for path in (DEPLOY / "kubernetes").glob("*.yaml") if path.name not in FOREIGN)
OLDEST, NEWEST = "1.29", "1.37"
"""Native sidecars are on by default since 1.29."""


def check(program: str, *arguments: str | Path) -> None:
    """Run a program that developers install; AssertionError with what it says where it finds fault."""
    command = Path(sys.executable).parent / program
    if not command.exists():
        pytest.skip(f"there is no {program}")
    ran = subprocess.run([command, *arguments], capture_output=True, text=True, timeout=120)

    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_dockerfile_has_nothing_that_its_lint_warns_of() -> None:
    check("hadolint", "--no-color", DEPLOY / "Dockerfile")


def test_compose_can_read_its_file() -> None:
    check("check-jsonschema", "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml")


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_kubernetes_can_read_every_object(version: str) -> None:
    check("kubernetes-validate", "--strict", "--kubernetes-version", version, *OBJECTS)
