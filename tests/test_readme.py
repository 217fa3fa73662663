"""The README says what is so."""

import re
from pathlib import Path

import pytest

from metaproxy.config.load import load_config
from metaproxy.demo.session import STEPS

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
LINKS = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
ADMIN, COMPUTE = "http://127.0.0.1:9774", "http://127.0.0.1:PORT"


def test_its_configuration_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYSTONE_PASSWORD", "secret")
    (configuration,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    file = tmp_path / "metaproxy.yaml"
    file.write_text(configuration)
    load_config(file)


@pytest.mark.parametrize(("title", "command"), STEPS)
def test_its_session_is_the_one_that_the_demo_prints(title: str, command: str) -> None:
    shown = re.sub(r"(?<=127\.0\.0\.1:)\d+(?=/_demo)", "PORT", README)
    assert f"# {title}\n$ {command.format(admin=ADMIN, compute=COMPUTE)}\n" in shown


@pytest.mark.parametrize("link", LINKS)
def test_what_it_links_is_there(link: str) -> None:
    assert (ROOT / link).exists()


@pytest.mark.parametrize("target", re.findall(r"^make ([a-z-]+)", README, re.MULTILINE))
def test_its_make_targets_exist(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
