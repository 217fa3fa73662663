"""The steps of the Dockerfile, run as a script: a folder stands for the root of the file system.

Absolute paths in the steps are taken to lie in that folder. What only a container has is left out: the
base image (this interpreter stands for its own) and its users.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

from tests.deploy.files import DEPLOY

ROOT = DEPLOY.parent
STEP_SECONDS = 900
OF_THE_CONTAINER = ("useradd ",)
"""Commands that change the system around: a container's, never this one's."""
ABSOLUTE = re.compile(r"(?<![\w.])/(?=opt/|src\b|etc/)")


def steps() -> Iterator[tuple[str, str]]:
    """The instructions of the Dockerfile, with their arguments."""
    text = re.sub(r"\\\n\s*", " ", (DEPLOY / "Dockerfile").read_text())
    for line in text.splitlines():
        if line and not line.startswith("#"):
            instruction, _, arguments = line.partition(" ")
            yield instruction, arguments


class StepFailed(Exception):
    """A step of the Dockerfile failed; the message is what it wrote."""


class Image:
    """What the Dockerfile makes of the repository, in the folder ``root``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environment = {"HOME": str(root / "home"), "PATH": os.defpath} | {
            # How this machine reaches a package index.
            name: value
            for name, value in os.environ.items()
            if name.startswith("PIP_") or name.lower().endswith("_proxy")
        }
        self._folder = root
        self._settings: dict[str, str] = {}

    def build(self) -> None:
        """Run every step; raises StepFailed."""
        interpreter = self.root / "base"
        interpreter.mkdir(parents=True)
        (interpreter / "python").symlink_to(sys.executable)
        for instruction, arguments in steps():
            step = getattr(self, f"_{instruction.lower()}", None)
            if step is not None:
                step(arguments)
            else:
                self._settings[instruction] = arguments

    def command(self, instruction: str) -> list[str]:
        """Return the command that ``instruction`` sets, with its paths in the folder."""
        words = re.findall(r'"([^"]*)"', self._settings[instruction].partition("[")[2])
        return [self._inside(word) for word in words]

    def run(self, command: Sequence[str], **variables: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of the image to its end."""
        return subprocess.run(
            self.found(command),
            env=self.environment | variables,
            cwd=self.root,
            capture_output=True,
            text=True,
            timeout=300,
        )

    def found(self, command: Sequence[str]) -> list[str]:
        """Return ``command`` with its program as the image's PATH finds it."""
        program = shutil.which(command[0], path=self.environment["PATH"])
        assert program is not None, f"{command[0]} is not in {self.environment['PATH']}"
        return [program, *command[1:]]

    def _arg(self, argument: str) -> None:
        name, _, default = argument.partition("=")
        self.environment.setdefault(name, default)

    def _from(self, _: str) -> None:
        self._folder = self.root
        self.environment["PATH"] = f"{self.root / 'base'}{os.pathsep}{os.defpath}"

    def _workdir(self, path: str) -> None:
        self._folder = Path(self._inside(path))
        self._folder.mkdir(parents=True, exist_ok=True)

    def _copy(self, arguments: str) -> None:
        *sources, target = arguments.split()
        if sources[0].startswith("--from="):
            assert sources[1:] == [target], "what the next stage takes stays where it is"
            self._forget_all_but(Path(self._inside(target)))
            return
        place = self._folder / self._inside(target)
        if target.endswith("/"):
            place.mkdir(parents=True, exist_ok=True)
        for source in sources:
            self._copy_one(ROOT / source, place)

    def _copy_one(self, source: Path, target: Path) -> None:
        if source.is_dir():
            shutil.copytree(source, target, ignore=_ignored)
        else:
            shutil.copy(source, target)

    def _forget_all_but(self, kept: Path) -> None:
        """A new stage begins with nothing of the one before it."""
        for path in [self.root / "src", *kept.parent.iterdir()]:
            if path != kept:
                shutil.rmtree(path)

    def _run(self, command: str) -> None:
        if command.startswith(OF_THE_CONTAINER):
            return
        ran = subprocess.run(
            ["/bin/sh", "-ec", self._inside(command)],
            env=self.environment,
            cwd=self._folder,
            capture_output=True,
            text=True,
            timeout=STEP_SECONDS,
        )
        if ran.returncode:
            raise StepFailed(f"{command}\n{ran.stdout}{ran.stderr}")

    def _env(self, arguments: str) -> None:
        for word in shlex.split(arguments):
            name, _, value = word.partition("=")
            self.environment[name] = self._inside(value).replace("$PATH", self.environment["PATH"])

    def _inside(self, text: str) -> str:
        return ABSOLUTE.sub(f"{self.root}/", text)


def _ignored(_: str, names: list[str]) -> set[str]:
    patterns = [line.removeprefix("**/") for line in (ROOT / ".dockerignore").read_text().split()]
    return {name for name in names if any(fnmatch(name, pattern) for pattern in patterns)}
