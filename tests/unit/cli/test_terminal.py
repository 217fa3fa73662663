"""No command lets what comes from the network reach the terminal as more than text."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from metaproxy.cli import GROUPS, application
from metaproxy.cli.configuration import as_yaml

HOSTILE = "\x1b]0;owned\x07\x9b31m\u202e\rforged\nmetaproxy: all is well"
OWNED = "\\u001b]0;owned"

STATUS = {
    "version": HOSTILE, "ready": True, "draining": False, "uptime_seconds": 1.0, "generation": 1,
    "now": 1.0, "latency_bounds": [1.0], "latency": {HOSTILE: {"counts": [1, 0], "seconds": 1.0}},
    "degraded": [HOSTILE], "checks": {HOSTILE: {"well": False, "says": HOSTILE}}, "requests": {HOSTILE: 3},
    "upstream": [{"name": HOSTILE, "healthy": True, "breaker": HOSTILE, "active_requests": 0}],
    "consumers": [{"consumer": HOSTILE, "requests": 1, "refusals": 0}],
    "cache": {"entries": 1, "bytes": 9, "max_bytes": 10},
}  # fmt: skip
RULE = {"name": HOSTILE, "per": [HOSTILE], "limit": 1, "unit": HOSTILE, "path": HOSTILE}
CONCURRENT = {"per": HOSTILE, "max": 1, "shared": True, "running": 0}
ANSWERS: dict[str, Any] = {
    "/status": STATUS,
    "/limits": {"rules": [RULE], "concurrent": CONCURRENT, "consumers": STATUS["consumers"]},
    "/limits/reset": {"counters": 1},
    "/reload": {"path": HOSTILE, "generation": 1, "needs_restart": [HOSTILE]},
    "/logging": {"level": HOSTILE},
    "/cache/purge": {"purged": 1},
    "/tokens/revoke": {"forgotten": 1},
    "/config": {"config": {HOSTILE: [HOSTILE, {"key": HOSTILE}]}},
}
COMMANDS = [
    ["status"],
    ["status", "--json"],
    ["top", "--count", "1", "--interval", "0.2"],
    ["limits", "show"],
    ["limits", "show", "--json"],
    ["limits", "reset", HOSTILE],
    ["reload"],
    ["log-level", "info"],
    ["purge", "--all"],
    ["revoke", "--user-id", "u"],
    ["config", "show"],
]
COUNTING = [["limits", "reset", "project:p1"], ["purge", "--all"], ["revoke", "--user-id", "u"]]
"""Commands that print numbers alone of an answer."""
WITHOUT_THE_NETWORK = {"serve", "hash-token", "check", "schema", "import-repose", "demo"}


@contextmanager
def listener(status: int, answers: Mapping[str, Any] = ANSWERS) -> Iterator[str]:
    """An admin listener, or something in its place, that answers everything with hostile text."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            refusal = {"error": HOSTILE, "problems": [HOSTILE]}
            answer = answers[self.path.partition("?")[0]] if status == 200 else refusal
            self.send_response(status)
            self.send_header("metaproxy-admin", "1")
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        do_GET = do_POST = answer  # noqa: N815 - the names of http.server

        def log_message(self, *args: Any) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(application(), list(arguments))


def unprintable(text: str) -> set[str]:
    return {character for line in text.split("\n") for character in line if not character.isprintable()}


def forged(text: str) -> list[str]:
    return [line for line in text.split("\n") if line.startswith("metaproxy: all is well")]


SPEAKING = [command for command in COMMANDS if command[0] not in {"purge", "revoke"}]


@pytest.mark.parametrize("command", SPEAKING, ids=" ".join)
def test_a_command_prints_hostile_answers_as_text(command: list[str]) -> None:
    with listener(200) as url:
        result = run(*command, "--admin", url)

    assert result.exit_code in (0, 1)
    assert OWNED in result.output.replace("\\e]", "\\u001b]")
    assert unprintable(result.output) == set()
    assert forged(result.output) == []


@pytest.mark.parametrize("command", COUNTING, ids=" ".join)
def test_hostile_text_in_place_of_a_number_is_no_answer_of_metaproxy(command: list[str]) -> None:
    hostile = {path: dict.fromkeys(answer, HOSTILE) for path, answer in ANSWERS.items()}
    with listener(200, hostile) as url:
        result = run(*command, "--admin", url)

    assert result.exit_code == 3
    assert unprintable(result.output) == set()
    assert forged(result.output) == []


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_prints_hostile_refusals_as_text(command: list[str]) -> None:
    with listener(500) as url:
        result = run(*command, "--admin", url)

    assert result.exit_code == 1
    assert OWNED in result.output
    assert unprintable(result.output) == set()
    assert forged(result.output) == []


def test_every_command_is_in_the_table_or_asks_nobody() -> None:
    commands = {command for group in GROUPS.values() for command in group}

    assert {command[0] for command in COMMANDS} | WITHOUT_THE_NETWORK == commands


def test_a_configuration_that_is_printed_reads_back_to_the_same() -> None:
    value = {"plain": "Zürich", HOSTILE: [HOSTILE, 7, None]}

    assert yaml.safe_load(as_yaml(value)) == value
    assert "Zürich" in as_yaml({"plain": "Zürich"})


def test_a_file_name_that_is_hostile_is_printed_as_text(tmp_path: Path) -> None:
    file = tmp_path / "a\x1b[31m.yaml"
    file.write_text("server: {lisen: 1}\n")

    result = run("check", str(file))

    assert result.exit_code == 2
    assert "a\\u001b[31m.yaml" in result.output
    assert unprintable(result.output) == set()
