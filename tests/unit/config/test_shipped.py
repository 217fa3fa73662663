"""Every configuration that is shipped passes ``check``, with the files that it names."""

import re
from pathlib import Path

import pytest
import yaml

from metaproxy.preflight import Machine, inspect
from tests.unit.config.test_reference_files import ENVIRON, active_text
from tests.unit.forward.certificates import Authority

ROOT = Path(__file__).parents[3]
ROOMY = Machine(binds_any_port=True)
FOLDERS = re.compile(r"/etc/metaproxy/tls|/run/metaproxy|/run/nova")
EXAMPLES = sorted((ROOT / "config" / "examples").glob("*.yaml"))


def configmap() -> str:
    """The configuration inside the ConfigMap of deploy/kubernetes."""
    loaded = yaml.safe_load((ROOT / "deploy" / "kubernetes" / "configmap.yaml").read_text())
    return str(next(iter(loaded["data"].values())))


def of_readme() -> str:
    """The first YAML block of README.md that is a whole configuration."""
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return str(next(block for block in blocks if "upstream:" in block and "identity:" in block))


SHIPPED = {
    **{example.stem: example.read_text() for example in EXAMPLES},
    "metaproxy.yaml": active_text(),
    "configmap": configmap(),
    "README": of_readme(),
}


def placed(text: str, folder: Path) -> str:
    """Return ``text`` with the files that it names in ``folder``, where they are."""
    authority = Authority(folder, "cloud-ca")
    for name in ("server", "client"):
        issued = authority.issue(name)
        issued.certificate.rename(folder / f"{name}.crt")
    authority.ca.rename(folder / "cloud-ca.crt")
    return re.sub(r"\$\{file:[^}]+\}", "of-the-secret-file", FOLDERS.sub(str(folder), text))


@pytest.mark.parametrize("text", SHIPPED.values(), ids=SHIPPED)
def test_a_shipped_configuration_has_no_error(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.mktemp("s")
    file = folder / "metaproxy.yaml"
    file.write_text(placed(text, folder))

    report = inspect(file, ENVIRON, machine=ROOMY)

    assert list(map(str, report.errors)) == []
