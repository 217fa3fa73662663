"""Every command against an address where something else than metaproxy's admin listener answers."""

import json
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import pytest
from typer.testing import CliRunner, Result

from metaproxy.cli import application
from metaproxy.cli.admin import EXIT_NOT_REACHED, EXIT_REFUSED, AdminClient, AdminError

COMMANDS: list[Sequence[str]] = [
    ("status",),
    ("status", "--json"),
    ("top", "--count", "1", "--interval", "0.2"),
    ("purge", "--all"),
    ("revoke", "--user-id", "u1"),
    ("limits", "show"),
    ("limits", "reset", "global:"),
    ("config", "show"),
    ("reload",),
    ("log-level", "info"),
]


def http(body: bytes, status: str = "200 OK", *fields: str, length: int | None = None) -> bytes:
    """An answer of an HTTP server that closes; ``length`` is what it says of its body."""
    head = [f"HTTP/1.1 {status}", f"content-length: {len(body) if length is None else length}", *fields]
    return "\r\n".join([*head, "connection: close", "", ""]).encode() + body


ANSWERS = {
    "an object": http(b'{"ok": true}'),
    "an empty object": http(b"{}"),
    "a list": http(b"[]"),
    "a number": http(b"7"),
    "null": http(b"null"),
    "other types": http(b'{"ready": "yes", "checks": [], "level": 3, "config": 1, "purged": "x"}'),
    "deep JSON": http(b"[" * 100_000),
    "a page": http(b"<html>welcome</html>", "200 OK", "content-type: text/html"),
    "nothing": http(b"", "204 No Content"),
    "not UTF-8": http(b"\xff\xfe\x00"),
    "unknown path": http(b'{"error": "not found"}', "404 Not Found"),
    "Keystone": http(b'{"error": {"code": 401, "message": "no"}}', "401 Unauthorized"),
    "a gateway": http(b"<html>502</html>", "502 Bad Gateway"),
    "JSON of a broken server": http(b'{"error": "broken"}', "500 Internal Server Error"),
    "elsewhere": http(b"", "302 Found", "location: http://127.0.0.1:1/"),
    "half a body": http(b'{"ready": tr', length=4096),
    "half a head": b"HTTP/1.1 200 OK\r\ncontent-le",
    "half a chunk": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n40\r\n{",
    "a coding that it does not have": http(b"{}", "200 OK", "content-encoding: gzip"),
    "SSH": b"SSH-2.0-OpenSSH_9.6\r\n",
    "Redis": b"-ERR unknown command\r\n",
    "a TLS alert": b"\x15\x03\x01\x00\x02\x02\x50",
    "silence": b"",
}


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """A listener that reads a request, sends ``answer`` and closes; yield its address."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, suppress(OSError):
                    connection.recv(65536)
                    connection.sendall(answer)
                    connection.shutdown(socket.SHUT_WR)
                    connection.recv(65536)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        listener.close()


def run(command: Sequence[str], admin: str) -> Result:
    return CliRunner().invoke(application(command), command, env={"METAPROXY_ADMIN": admin})


def is_told(command: Sequence[str], answer: bytes) -> None:
    with answering(answer) as admin:
        told = run(command, admin)

    assert (told.exit_code, told.stdout) == (EXIT_NOT_REACHED, "")
    assert f"{admin} is not metaproxy's admin listener" in told.stderr
    assert "names another listener" in told.stderr


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_what_answers_in_the_place_of_metaproxys_listener_is_told_in_a_sentence(answer: bytes) -> None:
    is_told(("status",), answer)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_tells_that_a_listener_is_not_metaproxys(command: Sequence[str]) -> None:
    for name in ("an object", "other types", "a page"):
        is_told(command, ANSWERS[name])


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_refusal_of_metaproxys_own_listener_is_told_as_one(command: Sequence[str]) -> None:
    body = json.dumps({"error": "it is refused", "problems": ["for a reason"]}).encode()
    with answering(http(body, "409 Conflict", "metaproxy-admin: 1")) as admin:
        told = run(command, admin)

    assert told.exit_code == EXIT_REFUSED
    assert told.stderr == "metaproxy: it is refused\nfor a reason\n"


@pytest.mark.parametrize("admin", ["http://[::1", "http://127.0.0.1:99999", "ftp://127.0.0.1"])
def test_an_address_that_leads_nowhere_is_told(admin: str) -> None:
    for command in (("status",), ("reload",)):
        told = run(command, admin)

        assert told.exit_code == EXIT_NOT_REACHED
        assert "cannot be reached" in told.stderr


def test_a_listener_that_takes_a_question_and_does_not_answer_may_still_do_what_it_asks() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    with (
        listener,
        pytest.raises(AdminError, match=r"not answered it within 0\.1 s; if it was to change something"),
    ):
        AdminClient(f"127.0.0.1:{listener.getsockname()[1]}", seconds=0.1).change("/reload", {})


def test_a_token_with_any_letters_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METAPROXY_ADMIN_TOKEN", "gehöhlt")
    with answering(http(b'{"level": "info"}')) as admin:
        assert run(("log-level", "info"), admin).stdout == "info\n"


def test_a_change_is_said_to_have_reached_the_processes_that_share_and_no_other() -> None:
    alone, shared = b'{"purged": 1, "forgotten": 1}', b'{"purged": 1, "forgotten": 1, "replicas_told": true}'
    workers = b'{"purged": 1, "forgotten": 1, "workers_told": true}'
    for command in (("purge", "--all"), ("revoke", "--user-id", "u1")):
        with answering(http(alone)) as admin:
            assert "no other process is told, because store.url is not set" in run(command, admin).stdout
        with answering(http(shared)) as admin:
            assert "replicas on the same store are told" in run(command, admin).stdout
        with answering(http(workers)) as admin:
            assert "all workers are told, and no other replica" in run(command, admin).stdout
