"""The commands of config/DEPLOYING.md, run as they stand there."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.deploy.files import DEPLOY
from tests.deploy.fronts import haproxy, ports_of
from tests.e2e import starting
from tests.e2e.conftest import compute, folder, identity
from tests.e2e.deployment import Proxy, Sections, running_proxy
from tests.e2e.processes import ROOT, wait_until
from tests.unit.forward.certificates import Authority

__all__ = ["compute", "folder", "identity"]

GUIDE = (ROOT / "config" / "DEPLOYING.md").read_text()
FILE = "/etc/metaproxy/metaproxy.yaml"
ADMIN_TOKEN = "the-admin-token"


def lines(language: str) -> list[str]:
    """Every line of the guide's blocks in ``language``."""
    blocks = re.findall(rf"^ *```{language}\n(.*?)^ *```", GUIDE, re.MULTILINE | re.DOTALL)
    return [line.strip() for block in blocks for line in block.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def proxy(folder: Path, compute: str, identity: str) -> Iterator[Proxy]:
    sections: Sections = {"admin": {"token": ADMIN_TOKEN}}
    with running_proxy(folder / "proxy", upstream=compute, identity=identity, sections=sections) as running:
        yield running


def run(line: str, proxy: Proxy, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run a line in a shell in which ``metaproxy`` is this one."""
    program = folder / "metaproxy"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m metaproxy "$@"\n')
    program.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "METAPROXY_ADMIN": proxy.admin_url,
        "METAPROXY_ADMIN_TOKEN": ADMIN_TOKEN,
    }
    return subprocess.run(
        ["/bin/sh", "-c", line.replace(FILE, str(proxy.config))],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.e2e
@pytest.mark.parametrize("line", sorted(set(lines("sh"))))
def test_a_command_of_the_guide_works(line: str, proxy: Proxy, tmp_path: Path) -> None:
    if line.startswith("curl") and shutil.which("curl") is None:
        pytest.skip("there is no curl")
    wait_until(lambda: httpx.get(f"{proxy.admin_url}/readyz", trust_env=False).is_success, what="readiness")

    ran = run(line, proxy, tmp_path)

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout


@pytest.mark.e2e
@pytest.mark.skipif(shutil.which("haproxy") is None, reason="there is no haproxy")
def test_haproxy_understands_what_the_guide_tells_it(proxy: Proxy, tmp_path: Path) -> None:
    said = lines("haproxy")
    assert len(said) == 3
    issued = Authority(tmp_path).issue("compute.example")
    with (
        tempfile.TemporaryDirectory(prefix="front-") as name,
        haproxy(Path(name), [*ports_of(proxy), *ports_of(proxy)], issued) as front,
    ):
        drain, show, ready = said

        assert front.say(drain).strip() == ""
        assert front.state("first")[0] == "DRAIN"
        assert '"scur"' in front.say(show)
        assert front.say(ready).strip() == ""
        wait_until(lambda: front.state("first") == ("UP", "L7OK/200"), what="the replica to be up")


def test_every_variable_of_ours_stands_in_the_guide() -> None:
    sources = [path.read_text() for path in (ROOT / "metaproxy").rglob("*.py")]
    named = {name for text in sources for name in re.findall(r'"((?:METAPROXY|LISTEN)_[A-Z_]+)"', text)}

    assert {name for name in named if f"`{name}`" not in GUIDE} == set()


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["check", "config/metaproxy.yaml"], 2),  # its ${file:…} are not there
        (["check", "nowhere.yaml"], 2),
        (["no-such-command"], 2),
        (["status", "--admin", "unix:/nowhere"], 3),
        (["--version"], 0),
    ],
)
def test_exit_codes_are_those_of_the_guide(arguments: list[str], code: int) -> None:
    assert f"| {code} |" in GUIDE
    environment = {name: value for name, value in os.environ.items() if name != "KEYSTONE_PASSWORD"}

    assert starting.run(*arguments, environment=environment).returncode == code


def test_every_link_of_the_guide_leads_to_a_file() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", GUIDE):
        assert (DEPLOY.parent / "config" / target).exists(), target
