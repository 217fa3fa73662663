"""``metaproxy hash-token`` and ``metaproxy revoke``."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from metaproxy.cli import application
from metaproxy.identity.digests import hash_token


def run(*arguments: str, stdin: str = "") -> Result:
    environment = {"METAPROXY_ADMIN_TOKEN": "admin-token"}
    return CliRunner().invoke(application(), list(arguments), input=stdin, env=environment)


@contextmanager
def admin_listener(
    answer: dict[str, Any], status: int = 200
) -> Iterator[tuple[str, list[tuple[str, str | None, Any]]]]:
    """A listener that answers every POST with ``answer``; yields its address and what it was sent."""
    sent: list[tuple[str, str | None, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            sent.append((self.path, self.headers["Authorization"], json.loads(body)))
            self.send_response(status)
            self.send_header("metaproxy-admin", "1")
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *args: Any) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", sent
        finally:
            server.shutdown()
            thread.join()


def test_a_token_on_standard_input_is_hashed() -> None:
    assert run("hash-token", stdin="secret\n").stdout == hash_token("secret") + "\n"


def test_a_new_token_comes_with_its_hash() -> None:
    token, token_hash = (line.partition(": ")[2] for line in run("hash-token", "--new").stdout.splitlines())

    assert len(token) >= 40
    assert token_hash == hash_token(token)


def test_nothing_cannot_be_hashed() -> None:
    assert run("hash-token", stdin="\n").exit_code == 2


def test_a_token_is_revoked_at_the_admin_listener() -> None:
    with admin_listener({"forgotten": 1, "replicas_told": True}) as (address, sent):
        result = run("revoke", "--admin", address, "--token", stdin="secret\n")

    assert result.exit_code == 0
    assert result.stdout == "revoked: this process knew 1 such tokens; replicas on the same store are told\n"
    assert sent == [("/tokens/revoke", "Bearer admin-token", {"token": "secret"})]


def test_a_users_tokens_are_revoked_by_its_id() -> None:
    with admin_listener({"forgotten": 0}) as (address, sent):
        run("revoke", "--admin", address, "--user-id", "u1", "--project-id", "p1")

    assert [body for _, _, body in sent] == [{"user_id": "u1", "project_id": "p1"}]


@pytest.mark.parametrize("arguments", [[], ["--token", "--user-id", "u1"]])
def test_a_revocation_names_a_token_or_ids(arguments: list[str]) -> None:
    result = run("revoke", "--admin", "http://127.0.0.1:1", *arguments, stdin="t\n")

    assert result.exit_code == 2


@pytest.mark.parametrize(
    "command", [["revoke", "--user-id", "u1"], ["purge", "--all"]], ids=lambda each: each[0]
)
def test_what_the_other_replicas_were_not_told_ends_with_an_error(command: list[str]) -> None:
    with admin_listener({"error": "the others could not be told"}, 503) as (address, _):
        result = run(*command, "--admin", address)

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "metaproxy: the others could not be told\n"
