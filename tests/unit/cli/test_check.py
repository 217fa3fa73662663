"""``metaproxy check``: several files, standard input, --strict and --json, and its exit codes."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from metaproxy.cli import application
from tests.unit.preflight.configured import written

WARNED = {"server": "{listen: 127.0.0.1:0, trusted_proxies: [0.0.0.0/0]}"}
WRONG = {"server": "{lisen: 127.0.0.1:0}"}


def run(*arguments: str | Path, stdin: str | None = None) -> Result:
    return CliRunner(env={"TOKEN": "of-alice"}).invoke(application(), list(map(str, arguments)), input=stdin)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    return tmp_path / "one", tmp_path / "two"


def test_a_warning_is_printed_on_stderr_and_the_exit_code_is_0(tmp_path: Path) -> None:
    file = written(tmp_path, **WARNED)

    result = run("check", file)

    assert result.exit_code == 0
    assert result.stdout.startswith(f"{file}: ok: ")
    assert result.stderr.startswith(f"{file}:1: server.trusted_proxies[0]: warning: ")


def test_with_strict_a_warning_is_exit_2(tmp_path: Path) -> None:
    assert run("check", "--strict", written(tmp_path, **WARNED)).exit_code == 2


def test_with_strict_a_file_without_warnings_is_exit_0(tmp_path: Path) -> None:
    assert run("check", "--strict", written(tmp_path)).exit_code == 0


def test_every_file_is_reported_and_one_error_is_exit_2(folders: tuple[Path, Path]) -> None:
    wrong, sound = written(folders[0], **WRONG), written(folders[1])

    result = run("check", wrong, sound)

    assert result.exit_code == 2
    assert result.stderr == f"{wrong}:1: server.lisen: unknown key; did you mean listen?\n"
    assert result.stdout.startswith(f"{sound}: ok: ")


def test_a_missing_file_does_not_hide_the_next(folders: tuple[Path, Path]) -> None:
    sound = written(folders[1])

    result = run("check", folders[0] / "no.yaml", sound)

    assert result.exit_code == 2
    assert result.stderr == f"{folders[0]}/no.yaml: no such file\n"
    assert result.stdout.startswith(f"{sound}: ok: ")


def test_json_is_an_array_of_every_problem(folders: tuple[Path, Path]) -> None:
    wrong, warned = written(folders[0], **WRONG), written(folders[1], **WARNED)

    result = run("check", "--json", wrong, warned)

    assert result.exit_code == 2
    assert result.stderr == ""
    assert [
        (found["file"], found["line"], found["column"], found["key"], found["severity"])
        for found in json.loads(result.stdout)
    ] == [
        (str(wrong), 1, 10, "server.lisen", "error"),
        (str(warned), 1, 49, "server.trusted_proxies[0]", "warning"),
    ]


def test_json_of_a_sound_file_is_an_empty_array(tmp_path: Path) -> None:
    result = run("check", "--json", written(tmp_path))

    assert (result.exit_code, json.loads(result.stdout)) == (0, [])


def test_a_dash_reads_standard_input_with_files_from_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tokens.yaml").write_text("- {token: '${TOKEN}', user: {id: u}}\n")
    text = written(tmp_path, identity="{provider: static, tokens_file: tokens.yaml}").read_text()

    sound = run("check", "-", stdin=text)
    wrong = run("check", "-", stdin=text.replace("listen", "lisen"))

    assert (sound.exit_code, sound.stderr) == (0, "")
    assert wrong.exit_code == 2
    assert wrong.stderr.splitlines()[0] == "-:1: server.lisen: unknown key; did you mean listen?"


@pytest.mark.parametrize("name", ["validate", "test"])
def test_the_names_that_other_programs_give_it_work_too(tmp_path: Path, name: str) -> None:
    assert run(name, written(tmp_path)).exit_code == 0


def test_top_level_keys_that_begin_with_x_are_for_anchors(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        **{"x-rates": "&rates {rate: 10/second, name: unused, odd: '${NOT_SET}'}", "x-note": "[1, 2]"},
    )

    assert run("check", file).exit_code == 0


def test_another_unknown_key_is_refused_still(tmp_path: Path) -> None:
    result = run("check", written(tmp_path, xrates="{}"))

    assert result.exit_code == 2
    assert "xrates: unknown key" in result.stderr


@pytest.mark.parametrize("content", ["a: [", "", "- 1\n", "a: &a [*a]\n", "\x07"])
def test_a_file_that_is_no_configuration_is_no_traceback(tmp_path: Path, content: str) -> None:
    file = tmp_path / "metaproxy.yaml"
    file.write_text(content)

    result = run("check", file)

    assert result.exit_code == 2
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert result.stderr.startswith(str(file))


@pytest.mark.parametrize("as_json", [(), ("--json",)])
def test_no_control_of_the_file_reaches_the_terminal(tmp_path: Path, as_json: tuple[str, ...]) -> None:
    file = written(tmp_path, **{'"\\e]0;a\\a\\u009b2J\\u202e"': "1"})

    result = run("check", *as_json, file)

    assert "u009b2J" in result.output
    assert [char for char in result.output if not char.isprintable() and char != "\n"] == []


FILTER = "identity:\n  provider: none\n"


def test_a_file_for_the_filter_needs_no_listener_and_no_upstream(tmp_path: Path) -> None:
    file = tmp_path / "metaproxy.yaml"
    file.write_text(FILTER)

    as_filter, as_proxy = run("check", "--filter", file), run("check", file)

    assert (as_filter.exit_code, as_proxy.exit_code) == (0, 2)
    assert as_filter.stdout.startswith(f"{file}: ok: filter; identity none; ")
    assert "upstream: is missing" in as_proxy.stderr


def test_an_error_in_a_file_for_the_filter_has_its_line(tmp_path: Path) -> None:
    file = tmp_path / "metaproxy.yaml"
    file.write_text(FILTER + "cache:\n  max_byte: 1MiB\n")

    result = run("check", "--filter", file)

    assert result.exit_code == 2
    assert f"{file}:4: cache.max_byte: " in result.stderr
