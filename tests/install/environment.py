"""Clean virtual environments with the package in them, as a user's `pip install` makes them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD_SECONDS = 900
INSTALL_SECONDS = 900
RUN_SECONDS = 300


def build(folder: Path) -> tuple[Path, Path]:
    """Return the sdist, and the wheel that was built from it."""
    _run([sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)], BUILD_SECONDS)
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


def build_wheel(folder: Path) -> Path:
    """Return the wheel that was built from the checkout."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(folder), str(ROOT)]
    _run(command, BUILD_SECONDS)
    (wheel,) = folder.glob("*.whl")
    return wheel


class Environment:
    """A virtual environment that does not see the checkout.

    Args:
        folder: where it is, or will be.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python = folder / "bin" / "python"

    @classmethod
    def made(cls, folder: Path, *requirements: str) -> "Environment":
        """Return a new environment with ``requirements``, which come from the package index."""
        # This interpreter's pip installs there: to unpack another pip takes nine seconds of a core.
        _run([sys.executable, "-m", "venv", "--without-pip", str(folder)], INSTALL_SECONDS)
        environment = cls(folder)
        environment.install(*requirements)
        return environment

    def copied(self, folder: Path, *requirements: str) -> "Environment":
        """Return a copy with ``requirements`` added, which takes a fraction of the time of a new one.

        The programs in ``bin`` still start the original: a copy is run with ``python -m``.
        """
        shutil.copytree(self.folder, folder, symlinks=True)
        environment = Environment(folder)
        environment.install(*requirements)
        return environment

    def install(self, *requirements: str) -> None:
        """Install ``requirements``."""
        pip = [sys.executable, "-m", "pip", "--python", str(self.python), "--disable-pip-version-check"]
        _run([*pip, "install", "--quiet", *requirements], INSTALL_SECONDS, self.variables())

    def run(
        self, *arguments: str | Path, folder: Path, variables: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run ``python arguments`` in ``folder`` and return how it ended."""
        return subprocess.run(
            [str(part) for part in (self.python, *arguments)],
            cwd=folder,
            env=self.variables() | dict(variables or {}),
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
            check=False,
        )

    def variables(self) -> dict[str, str]:
        """Return this process's environment without what would lead to the checkout."""
        return {
            name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")
        }


def _run(command: Sequence[str], seconds: float, variables: Mapping[str, str] | None = None) -> None:
    done = subprocess.run(
        command, env=variables, capture_output=True, text=True, timeout=seconds, check=False
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"
