"""What broken upstreams do, and what the client gets."""

from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from tests.e2e.sockets import Script, UpstreamConnection

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCache-Control: max-age=60\r\n"


class Got(Enum):
    """What the client gets."""

    BAD_GATEWAY = "502"
    TIMEOUT = "504"
    BROKEN_OFF = "the beginning, then a connection that breaks off"
    WHOLE = "200, whole"


@dataclass(frozen=True)
class Failure:
    """What an upstream does with a GET, and what the client gets."""

    what: str
    script: Script
    got: Got

    def __str__(self) -> str:
        return self.what


def then_close(*parts: bytes) -> Script:
    """Send ``parts`` and close."""

    def script(connection: UpstreamConnection, _: bytes) -> None:
        connection.send(*parts)
        connection.shutdown()

    return script


def then_reset(*parts: bytes) -> Script:
    """Send ``parts`` and reset the connection."""

    def script(connection: UpstreamConnection, _: bytes) -> None:
        connection.send(*parts)
        connection.reset()

    return script


def then_silence(*parts: bytes) -> Script:
    """Send ``parts`` and wait until the proxy gives up."""

    def script(connection: UpstreamConnection, _: bytes) -> None:
        connection.send(*parts)
        connection.read_head()

    return script


def then_serve(*parts: bytes) -> Script:
    """Send ``parts`` and be ready for the next request."""

    def script(connection: UpstreamConnection, _: bytes) -> None:
        connection.send(*parts)

    return script


def endless(first: bytes, again: bytes) -> Script:
    """Send ``first``, then ``again`` for as long as the proxy takes it."""

    def script(connection: UpstreamConnection, _: bytes) -> None:
        with suppress(OSError):
            connection.send(first)
            while True:
                connection.send(again * 64)

    return script


BAD, BROKEN, WHOLE = Got.BAD_GATEWAY, Got.BROKEN_OFF, Got.WHOLE
OK_BODY = HEAD + b"Content-Length: 2\r\n\r\n{}"

FAILURES = [
    Failure("closes without an answer", then_close(), BAD),
    Failure("resets before the answer", then_reset(), BAD),
    Failure("resets inside the head", then_reset(HEAD), BAD),
    Failure("closes inside the head", then_close(HEAD[:-5]), BAD),
    Failure("says nothing", then_silence(), Got.TIMEOUT),
    Failure("says nothing after half a head", then_silence(HEAD), Got.TIMEOUT),
    Failure("resets after the head", then_reset(HEAD, b"Content-Length: 9\r\n\r\n"), BROKEN),
    Failure("says nothing after half a body", then_silence(HEAD, b"Content-Length: 9\r\n\r\n{}"), BROKEN),
    Failure("sends less than its Content-Length", then_close(HEAD, b"Content-Length: 9\r\n\r\n{}"), BROKEN),
    Failure("ends inside a chunk", then_close(HEAD, b"Transfer-Encoding: chunked\r\n\r\n9\r\n{}"), BROKEN),
    Failure(
        "ends without the last chunk",
        then_close(HEAD, b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"),
        BROKEN,
    ),
    Failure(
        "sends a chunk size that is none",
        then_close(HEAD, b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\nxyz\r\n"),
        BAD,
    ),
    Failure(
        "sends two different Content-Length",
        then_close(HEAD, b"Content-Length: 3\r\nContent-Length: 2\r\n\r\n{}"),
        BAD,
    ),
    Failure(
        "sends a Content-Length that is no number", then_close(HEAD, b"Content-Length: 2x\r\n\r\n{}"), BAD
    ),
    Failure(
        "sends Content-Length and Transfer-Encoding",
        then_close(HEAD, b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"),
        BAD,
    ),
    Failure("sends a coding other than chunked", then_close(HEAD, b"Transfer-Encoding: gzip\r\n\r\n{}"), BAD),
    Failure("folds a field", then_close(HEAD, b"X-A: 1\r\n 2\r\nContent-Length: 2\r\n\r\n{}"), BAD),
    Failure("sends NUL in a field", then_close(HEAD, b"X-A: \x00\r\nContent-Length: 2\r\n\r\n{}"), BAD),
    Failure("switches protocols unasked", then_close(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n"), BAD),
    Failure("speaks another protocol", then_close(b"SSH-2.0-OpenSSH_9.2\r\n"), BAD),
    Failure("sends fields without end", endless(HEAD, b"X-Padding: 0123456789\r\n"), BAD),
    Failure("sends a field without end", endless(HEAD + b"X-A: ", b"0123456789"), BAD),
    Failure("sends interim answers without end", endless(b"", b"HTTP/1.1 102 Processing\r\n\r\n"), BAD),
    Failure(
        "sends some interim answers first", then_serve(b"HTTP/1.1 103 Hints\r\n\r\n" * 3, OK_BODY), WHOLE
    ),
    Failure("sends more than its Content-Length", then_serve(OK_BODY, OK_BODY), WHOLE),
]


class Behaviour(NamedTuple):
    """What an upstream does that one answer to one GET does not show; ``test`` of its file holds it."""

    what: str
    got: str
    test: str


BEHAVIOURS = [
    Behaviour("is not there", "502", "test_an_upstream_that_nobody_runs_is_a_bad_gateway"),
    Behaviour("sends an answer without end", "it, for as long as the client reads",
              "test_an_endless_answer_ends_when_the_client_has_had_enough"),
    Behaviour("sends an answer octet by octet", "200, whole", "test_an_answer_that_drips_comes_whole"),
    Behaviour("answers before it has read the body", "that answer, while it still sends",
              "test_an_early_answer_reaches_a_client_that_still_uploads"),
    Behaviour("closes while the client uploads", "502, nothing sent twice",
              "test_an_upstream_that_closes_while_the_client_uploads_is_a_bad_gateway"),
    Behaviour("closes a kept connection under a request", "200 where it may be repeated, else 502",
              "test_only_a_safe_request_is_repeated_when_a_kept_connection_dies"),
    Behaviour("sends a second answer after the first", "the first; the second never",
              "test_what_follows_an_answer_is_never_taken_for_the_next_one"),
]  # fmt: skip


def table() -> str:
    """The cases as Markdown."""
    lines = ["| the upstream | the client gets |", "|---|---|"]
    lines += [f"| {failure.what} | {failure.got.value} |" for failure in FAILURES]
    lines += [f"| {case.what} | {case.got} |" for case in BEHAVIOURS]
    return "\n".join(lines)
