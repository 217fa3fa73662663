"""``metaproxy hash-token`` and ``metaproxy revoke``."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
from typer.testing import CliRunner, Result

from metaproxy.cli import application
from metaproxy.cli.admin_client import post_or_exit
from metaproxy.config import Config, load_config
from metaproxy.identity.digests import hash_token

YAML = """
server: {{listen: 127.0.0.1:0}}
upstream: {{targets: [http://127.0.0.1:1]}}
identity: {{provider: none}}
admin: {{listen: {listen}, token: admin-token-of-some-length}}
"""


def run(*arguments: str, stdin: str = "") -> Result:
    return CliRunner().invoke(application(), list(arguments), input=stdin)


def configured(folder: Path, listen: str) -> Path:
    path = folder / "metaproxy.yaml"
    path.write_text(YAML.format(listen=listen))
    return path


@contextmanager
def admin_listener(answer: dict[str, Any]) -> Iterator[tuple[str, list[tuple[str, str | None, Any]]]]:
    """A listener that answers every POST with ``answer``; yields its address and what it was sent."""
    sent: list[tuple[str, str | None, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            sent.append((self.path, self.headers["Authorization"], json.loads(body)))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *args: Any) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}", sent
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


def test_a_token_is_revoked_at_the_admin_listener(tmp_path: Path) -> None:
    with admin_listener({"forgotten": 1}) as (address, sent):
        result = run("revoke", "-c", str(configured(tmp_path, address)), "--token", stdin="secret\n")

    assert result.exit_code == 0
    assert result.stdout == "revoked; this process knew 1 such tokens\n"
    assert sent == [("/tokens/revoke", "Bearer admin-token-of-some-length", {"token": "secret"})]


def test_a_users_tokens_are_revoked_by_its_id(tmp_path: Path) -> None:
    with admin_listener({"forgotten": 0}) as (address, sent):
        run("revoke", "-c", str(configured(tmp_path, address)), "--user-id", "u1", "--project-id", "p1")

    assert [body for _, _, body in sent] == [{"user_id": "u1", "project_id": "p1"}]


@pytest.mark.parametrize("arguments", [[], ["--token", "--user-id", "u1"]])
def test_a_revocation_names_a_token_or_ids(tmp_path: Path, arguments: list[str]) -> None:
    result = run("revoke", "-c", str(configured(tmp_path, "127.0.0.1:1")), *arguments, stdin="t\n")

    assert result.exit_code == 2


def loaded(folder: Path, listen: str = "127.0.0.1:1") -> Config:
    return load_config(configured(folder, listen))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (httpx.Response(503, json={"error": "try again"}), "refused: 503 try again"),
        (httpx.Response(500, text="<html>"), "refused: 500 "),
        (httpx.ConnectError("connection refused"), "127.0.0.1:1 does not answer: connection refused"),
    ],
)
def test_why_it_could_not_be_done_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], answer: httpx.Response | Exception, said: str
) -> None:
    def handler(_: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        return answer

    with pytest.raises(typer.Exit):
        post_or_exit(loaded(tmp_path), "/tokens/revoke", {"token": "secret"}, httpx.MockTransport(handler))

    told = capsys.readouterr().err
    assert said in told
    assert "secret" not in told


def test_a_proxy_without_an_admin_listener_cannot_be_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit):
        post_or_exit(loaded(tmp_path, "[]"), "/tokens/revoke", {})

    assert "no admin listener" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        ("0.0.0.0:9774", "http://127.0.0.1:9774/x"),
        ("'[::]:9774'", "http://[::1]:9774/x"),
        ("unix:/run/metaproxy/admin.sock", "http://localhost/x"),
    ],
)
def test_the_listener_is_found_where_it_listens(tmp_path: Path, listen: str, url: str) -> None:
    called: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        called.append(str(request.url))
        return httpx.Response(200, json={})

    post_or_exit(loaded(tmp_path, listen), "/x", {}, httpx.MockTransport(handler))

    assert called == [url]
