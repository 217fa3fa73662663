"""The command line: what each command prints, where, and with which exit code."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import typer.main
import yaml
from typer.testing import CliRunner, Result

from metaproxy.cli import GROUPS, application
from metaproxy.config.reference import json_schema, key_reference
from metaproxy.version import __version__

ROOT = Path(__file__).parents[2]
GOOD = (
    "server: {listen: 127.0.0.1:80}\nupstream: {targets: [http://127.0.0.1:1]}\nidentity: {provider: none}\n"
    "admin: {token: swordfish}\n"
)
BAD = "server: {lisen: 127.0.0.1:80}\nupstream: {targets: []}\nidentity: {provider: none}\n"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(application(), arguments)


@pytest.fixture
def good(tmp_path: Path) -> str:
    file = tmp_path / "good.yaml"
    file.write_text(GOOD)
    return str(file)


@pytest.fixture
def bad(tmp_path: Path) -> str:
    file = tmp_path / "bad.yaml"
    file.write_text(BAD)
    return str(file)


def test_version_is_one_line() -> None:
    assert run("--version").stdout == f"metaproxy {__version__}\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("command", [["--version"], ["config", "sample"], ["schema"]])
def test_a_full_disk_under_the_output_is_one_line_and_exits_with_1(command: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "metaproxy", *command],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            timeout=300,
            check=False,
        )

    assert ended.returncode == 1
    assert ended.stderr == "metaproxy: cannot write the output: No space left on device\n"


def test_help_lists_every_command() -> None:
    told = run("--help").stdout

    assert all(command in told for command in ("serve", "check", "schema", "demo", "config"))


def test_check_says_in_one_line_what_was_checked(good: str) -> None:
    result = run("check", good)

    assert result.exit_code == 0
    assert result.stdout == (
        f"{good}: ok: 127.0.0.1:80 -> http://127.0.0.1:1; identity none; 0 rate rules, 0 cache routes, "
        "store in this process\n"
    )


@pytest.mark.parametrize(
    ("sections", "store"),
    [
        ("", "in this process"),
        ("store: {url: redis://127.0.0.1}\n", "shared"),
        ("server: {listen: 127.0.0.1:80, workers: 4}\n", "shared by 4 workers"),
    ],
)
def test_check_says_which_processes_share(good: str, sections: str, store: str) -> None:
    kept = GOOD.partition("\n")[2] if sections.startswith("server") else GOOD
    Path(good).write_text(kept + sections)

    assert run("check", good).stdout.endswith(f", store {store}\n")


def test_check_tells_every_error_on_a_line_of_stderr_and_exits_with_2(bad: str) -> None:
    result = run("check", bad)

    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        f"{bad}:1: server.lisen: unknown key; did you mean listen?",
        f"{bad}:1: limits: warning: there are no limits: one consumer can take the whole API",
        f"{bad}:2: upstream.targets: must not be empty",
        f"{bad}:3: identity.provider: warning: none: no request needs a token",
    ]


@pytest.mark.parametrize(
    "arguments", [("serve", "--config"), ("check",), ("config", "show")], ids=lambda arguments: arguments[0]
)
def test_a_missing_file_is_one_line_and_exit_2(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    result = run(*arguments, f"{tmp_path}/nope.yaml")

    assert result.exit_code == 2
    assert result.stderr == f"{tmp_path}/nope.yaml: no such file\n"


def test_serve_with_a_bad_configuration_tells_every_error_and_exits_with_2(bad: str) -> None:
    result = run("serve", "--config", bad)

    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 2


def test_workers_on_the_command_line_are_checked_like_those_of_the_file(tmp_path: Path, good: str) -> None:
    config = tmp_path / "last-port.yaml"
    config.write_text(Path(good).read_text().replace("{token:", "{listen: 127.0.0.1:65535, token:"))

    result = run("serve", "--config", str(config), "--workers", "4")

    assert result.exit_code == 2
    assert "each worker takes one more" in result.stderr


def test_config_show_prints_yaml_with_every_default_and_no_secret(good: str) -> None:
    shown = yaml.safe_load(run("config", "show", good).stdout)

    assert shown["server"]["listen"] == ["127.0.0.1:80"]
    assert shown["server"]["idle_timeout"] == "75s"
    assert shown["admin"]["token"] == "***"


def test_schema_prints_the_json_schema() -> None:
    assert json.loads(run("schema").stdout) == json_schema()


def test_schema_as_markdown_prints_the_table_of_keys() -> None:
    assert run("schema", "--markdown").stdout == key_reference()


def test_an_unknown_command_is_no_traceback() -> None:
    result = run("serv")

    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_the_package_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "metaproxy", "--version"]

    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=300)

    assert result.stdout == f"metaproxy {__version__}\n"


def test_the_sample_configuration_is_printed_as_it_stands_in_the_repository() -> None:
    assert run("config", "sample").stdout == (ROOT / "config/metaproxy.yaml").read_text()


@pytest.mark.parametrize("group", GROUPS)
def test_a_command_is_found_without_the_other_groups(group: str) -> None:
    whole = {info.name for info in _commands(application())}
    for command in GROUPS[group]:
        alone = {info.name for info in _commands(application([command]))}
        assert set(GROUPS[group]) <= alone <= whole


def test_every_command_belongs_to_a_group() -> None:
    listed = {command for commands in GROUPS.values() for command in commands}
    assert {info.name for info in _commands(application()) if not info.hidden} == listed


@pytest.mark.parametrize(
    ("command", "unneeded"),
    [
        ("--version", {"httpx", "yaml", "rich", "uvicorn", "metaproxy.config", "metaproxy.cli.status"}),
        ("status", {"yaml", "uvicorn", "starlette", "metaproxy.config"}),
        ("check", {"uvicorn", "watchfiles", "metaproxy.server"}),
    ],
)
def test_a_command_imports_what_it_needs_alone(command: str, unneeded: set[str]) -> None:
    script = (
        "import sys; from metaproxy.cli import application; import typer.main;"
        "typer.main.get_command(application(sys.argv[1:])); print(*sys.modules)"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", script, command], capture_output=True, text=True, check=True, timeout=300
    ).stdout.split()
    assert not unneeded & set(loaded)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands_and_options(shell: str) -> None:
    asked = {"metaproxy sta": "status", "metaproxy status --js": "--json"}
    for line, completed in asked.items():
        environ = {
            "_METAPROXY_COMPLETE": f"complete_{shell}",
            "_TYPER_COMPLETE_ARGS": line,
            "_TYPER_COMPLETE_FISH_ACTION": "get-args",
            "COMP_WORDS": line,
            "COMP_CWORD": str(line.count(" ")),
        }
        answer = subprocess.run(
            [sys.executable, "-m", "metaproxy"],
            env=os.environ | environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert completed in answer.stdout, answer.stderr


def _commands(app: typer.Typer) -> list[Any]:
    return list(typer.main.get_group(app).commands.values())
