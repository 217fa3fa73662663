"""``check`` and ``serve`` say the same of a configuration, and ``serve`` binds nothing that is refused."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from metaproxy.cli import application
from tests.e2e.deployment import Proxy, Sections, running_proxy
from tests.e2e.operating import Operator
from tests.e2e.processes import ROOT
from tests.e2e.starting import run
from tests.unit.forward.certificates import Authority

pytestmark = pytest.mark.e2e

Prepare = Callable[[Path], object]

LIMITS = "limits: {rates: [{name: all, rate: 10/second}]}\n"
SOUND = (
    "server: {listen: 'unix:%(folder)s/m.sock'}\n"
    "admin: {listen: 'unix:%(folder)s/a.sock'}\n"
    "upstream: {targets: ['http://127.0.0.1:1']}\n"
    "identity: {provider: static, tokens: [{token: '${TOKEN}', user: {id: u}}]}\n" + LIMITS
)
TLS = ", tls: {certificate: server.pem, key: server.key}}"


def issue(folder: Path) -> None:
    Authority(folder).issue("server")


def issue_encrypted(folder: Path) -> None:
    authority = Authority(folder)
    authority.encrypt(authority.issue("server"))


def issue_two(folder: Path) -> None:
    authority = Authority(folder)
    authority.issue("server")
    authority.issue("other")


def nothing(folder: Path) -> None:
    """Nothing has to be there."""


MISFIT = TLS.replace("server.key", "other.key")
WITHOUT_CA = TLS.replace("}}", ", client_ca: server.key}}")

REFUSED: dict[str, tuple[Prepare, str, str, list[tuple[int, str]]]] = {
    "no TLS files": (nothing, "'}", f"'{TLS}", [(1, "server.tls.certificate"), (1, "server.tls.key")]),
    "encrypted key": (issue_encrypted, "'}", f"'{TLS}", [(1, "server.tls.key")]),
    "key of another certificate": (issue_two, "'}", f"'{MISFIT}", [(1, "server.tls.key")]),
    "no authority": (issue, "'}", f"'{WITHOUT_CA}", [(1, "server.tls.client_ca")]),
    "one address twice": (nothing, "a.sock", "m.sock", [(2, "admin.listen[0]")]),
    "no folder": (nothing, "a.sock", "no/a.sock", [(2, "admin.listen[0]")]),
    "a circle": (nothing, "http://127.0.0.1:1", "unix:%(folder)s/m.sock", [(3, "upstream.targets[0]")]),
    "absurd rate": (nothing, "10/second", "999999999999/second", [(5, "limits.rates[0].rate")]),
    "no CA": (nothing, "1:1']", "1:1'], tls: {ca: no.pem}", [(3, "upstream.tls.ca")]),
    "octal": (
        nothing,
        "'}",
        "', max_connections: 010, x: 1}",
        [(1, "server.max_connections"), (1, "server.x")],
    ),
}


def written(folder: Path, old: str = "", new: str = "") -> Path:
    file = folder / "metaproxy.yaml"
    file.write_text(SOUND.replace(old, new, 1) % {"folder": folder})
    return file


def served(file: Path) -> subprocess.CompletedProcess[str]:
    return run("serve", "--config", str(file), environment={**os.environ, "TOKEN": "of-alice"})


def checked(file: Path) -> tuple[int, str]:
    result = CliRunner(env={"TOKEN": "of-alice"}).invoke(application(), ["check", str(file)])
    return result.exit_code, result.stderr


@pytest.mark.parametrize(("prepare", "old", "new", "expected"), REFUSED.values(), ids=REFUSED)
def test_serve_refuses_what_check_refuses_with_the_same_words_and_binds_nothing(
    tmp_path_factory: pytest.TempPathFactory,
    prepare: Prepare,
    old: str,
    new: str,
    expected: list[tuple[int, str]],
) -> None:
    folder = tmp_path_factory.mktemp("s")
    prepare(folder)
    file = written(folder, old, new)

    served_, (exit_code, said) = served(file), checked(file)

    assert (served_.returncode, exit_code) == (2, 2)
    assert served_.stderr == said
    assert [line.split(": ")[:2] for line in said.splitlines()] == [
        [f"{file}:{line}", key] for line, key in expected
    ]
    assert not list(folder.glob("*.sock"))


def test_an_extra_that_is_not_installed_is_refused_at_its_key(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("s")
    (folder / "without" / "opentelemetry").mkdir(parents=True)
    (folder / "without" / "opentelemetry" / "__init__.py").write_text("raise ImportError('not here')\n")
    file = written(folder, LIMITS, LIMITS + "tracing: {otlp_endpoint: 'http://127.0.0.1:4318'}\n")

    refused = subprocess.run(
        [sys.executable, "-m", "metaproxy", "serve", "--config", str(file)],
        env={**os.environ, "PYTHONPATH": f"{folder}/without:{ROOT}", "TOKEN": "of-alice"},
        capture_output=True,
        text=True,
        timeout=300,
    )

    assert refused.returncode == 2
    assert refused.stderr == (
        f"{file}:6: tracing.otlp_endpoint: needs the extra otel: pip install 'metaproxy[otel]'\n"
    )
    assert not list(folder.glob("*.sock"))


@pytest.fixture
def warned(tmp_path: Path) -> Iterator[Proxy]:
    sections: Sections = {"server": {"trusted_proxies": ["0.0.0.0/0"]}, "limits": {"rates": []}}
    with running_proxy(
        tmp_path, upstream="http://127.0.0.1:1", identity="http://127.0.0.1:1", sections=sections
    ) as proxy:
        yield proxy


def test_serve_logs_each_warning_of_check_once(warned: Proxy) -> None:
    warnings = checked(warned.config)[1].splitlines()

    logged = [json.loads(line) for line in warned.server.output.splitlines() if line.startswith("{")]
    said = [line["problem"] for line in logged if line["event"] == "configuration"]
    assert len(warnings) >= 2
    assert sorted(said) == sorted(warnings)
    assert {line["level"] for line in logged if line["event"] == "configuration"} == {"warning"}


def test_a_reload_is_refused_with_the_same_words_and_changes_nothing(warned: Proxy) -> None:
    text = warned.config.read_text()
    warned.config.write_text(text.replace("upstream:\n", "upstream:\n  tls: {ca: no.pem}\n"))

    with Operator(warned) as operator:
        answer = operator.change("/reload", {})

    errors = [line for line in checked(warned.config)[1].splitlines() if ": warning: " not in line]
    assert answer.status_code == 422
    assert len(errors) == 1
    assert "upstream.tls.ca: " in errors[0]
    assert answer.json()["problems"] == errors
