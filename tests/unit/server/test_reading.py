"""Octets to requests, without a connection: the states, the bounds, and what follows the last request."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Scope

from metaproxy.protocol.faults import Fault
from metaproxy.server.edge import EdgeLimits
from metaproxy.server.reading import BETWEEN, BODY, HEAD, OVER, Reader

GET = b"GET /a?b=c HTTP/1.1\r\nHost: a\r\nX-One: 1 \r\n\r\n"
LENGTH = b"PUT /%2F HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc"
CHUNKS = (
    b"PUT /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2\r\nab\r\n1;x=y\r\nc\r\n0\r\nT: r\r\n\r\n"
)
OFFER = b"POST /o HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\nabc"
OLD = b"GET /old HTTP/1.0\r\nExpect: 100-continue\r\nConnection: keep-alive\r\n\r\n"
CLOSE = b"GET /close HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


@dataclass
class Requests:
    """Takes requests, and ends the connection at the first that is the client's last."""

    heads: list[Scope] = field(default_factory=list)
    said: list[tuple[str, bool, bool]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    complete: int = 0
    reader: Reader = field(init=False)

    def head_read(self, scope: Scope, *, keep_alive: bool, expects_continue: bool) -> None:
        self.heads.append(scope)
        self.said.append((scope["path"], keep_alive, expects_continue))
        self.bodies.append(b"")
        self.reader.is_last = not keep_alive

    def body_read(self, data: bytes) -> None:
        self.bodies[-1] += data

    def request_read(self) -> None:
        self.complete += 1


def reading(limits: EdgeLimits | None = None) -> tuple[Reader, Requests]:
    requests = Requests()
    reader = requests.reader = Reader(requests, limits or EdgeLimits(), {"client": None})
    return reader, requests


def feed(reader: Reader, *pieces: bytes) -> None:
    for piece in pieces:
        reader.feed(piece)


def test_a_head_has_its_fields_in_lower_case_and_without_blanks_around_values() -> None:
    reader, requests = reading()

    reader.feed(GET)

    [scope] = requests.heads
    assert scope["headers"] == [(b"host", b"a"), (b"x-one", b"1")]
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/a", b"/a", b"b=c")
    assert (scope["method"], scope["http_version"], scope["client"]) == ("GET", "1.1", None)


@given(st.lists(st.sampled_from([GET, LENGTH, CHUNKS, OFFER]), max_size=4), st.integers(1, 200))
def test_the_same_requests_are_read_however_their_octets_are_cut(sent: list[bytes], cut: int) -> None:
    octets = b"".join([*sent, CLOSE])
    reader, requests = reading()
    whole, expected = reading()

    whole.feed(octets)
    for at in range(0, len(octets), cut):
        reader.feed(octets[at : at + cut])

    assert requests.heads == expected.heads
    assert requests.bodies == [b"" if each in (GET, CLOSE) else b"abc" for each in [*sent, CLOSE]]
    assert requests.complete == len(sent) + 1
    assert reader.state is whole.state is OVER
    assert not reader.sends_on


@pytest.mark.parametrize(
    "before", [GET * 50, (GET + CHUNKS) * 20, b"\r\n" * 200], ids=["reads", "chunks", "lines"]
)
def test_the_octets_before_a_head_in_the_same_piece_are_no_part_of_it(before: bytes) -> None:
    reader, requests = reading(EdgeLimits(header_bytes=len(CLOSE)))

    reader.feed(before + CLOSE[:-1])
    reader.feed(CLOSE[-1:])

    assert requests.said[-1] == ("/close", False, False)


def test_the_octets_of_a_head_count_that_came_with_those_of_an_earlier_one() -> None:
    reader, _ = reading(EdgeLimits(header_bytes=len(CLOSE) - 2))

    with pytest.raises(Fault) as refused:
        reader.feed(GET + CLOSE[:-1])

    assert refused.value.status == 431


@pytest.mark.parametrize(
    ("octets", "said"),
    [
        (LENGTH, ("//", True, True)),
        (CHUNKS, ("/c", True, False)),
        (OLD, ("/old", False, False)),
        (CLOSE, ("/close", False, False)),
    ],
)
def test_a_head_says_if_another_request_may_follow_and_if_its_body_waits(
    octets: bytes, said: tuple[str, bool, bool]
) -> None:
    reader, requests = reading()

    reader.feed(octets)

    assert requests.said == [said]


def test_the_state_says_what_the_next_octet_belongs_to() -> None:
    reader, _ = reading()
    states = [reader.state]

    for piece in (b"\r\n", GET[:1], GET[1:], LENGTH[:-1], LENGTH[-1:], CLOSE):
        reader.feed(piece)
        states.append(reader.state)

    assert states == [BETWEEN, BETWEEN, HEAD, BETWEEN, BODY, BETWEEN, OVER]


@pytest.mark.parametrize("after", [GET, b"nonsense\r\n\r\n", b"\0"])
@pytest.mark.parametrize("together", [True, False])
def test_what_follows_the_last_request_is_not_read(after: bytes, together: bool) -> None:
    reader, requests = reading()

    for piece in [CLOSE + after] if together else [CLOSE, after]:
        reader.feed(piece)

    assert len(requests.heads) == 1
    assert reader.state is OVER


def test_it_is_noted_if_a_client_sends_on_after_its_last_request() -> None:
    reader, _ = reading()
    reader.feed(CLOSE)
    before = reader.sends_on

    reader.feed(GET)

    assert (before, reader.sends_on) == (False, True)


def test_a_reader_that_takes_no_more_reads_the_request_that_has_begun_to_its_end() -> None:
    reader, requests = reading()
    reader.feed(LENGTH[:-1])

    reader.take_no_more()
    reader.feed(LENGTH[-1:] + GET)

    assert (requests.bodies, requests.complete, reader.sends_on) == ([b"abc"], 1, True)


LIMITS = EdgeLimits(header_bytes=1000, url_bytes=100)
REFUSED = [
    (b"nonsense\r\n\r\n", "http_invalid"),
    (b"GET /\xe9 HTTP/1.1\r\nHost: a\r\n\r\n", "http_invalid"),
    (b"GET /" + b"a" * 100 + b" HTTP/1.1\r\nHost: a\r\n\r\n", "target_too_long"),
    (b"GET / HTTP/1.1\r\nX: " + b"y" * 1000, "headers_too_large"),
    (b"GET / HTTP/1.1\r\n\r\n", "host_ambiguous"),
    (CHUNKS[:-5] + b"X-A: b\r\n" * 5000, "framing_excessive"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "upgrade_refused"),
]


@pytest.mark.parametrize(("octets", "reason"), REFUSED, ids=[reason for _, reason in REFUSED])
def test_what_cannot_become_a_request_is_a_fault(octets: bytes, reason: str) -> None:
    reader, _ = reading(LIMITS)

    with pytest.raises(Fault) as raised:
        feed(reader, octets[:90], octets[90:])

    assert raised.value.reason == reason


def test_a_defect_behind_the_reader_is_not_taken_for_the_clients() -> None:
    reader, requests = reading()
    requests.heads = None  # type: ignore[assignment] # so that taking a head fails

    with pytest.raises(AttributeError):
        reader.feed(GET)


def test_the_authority_of_an_absolute_form_is_the_host_of_a_request_without_one() -> None:
    reader, requests = reading()

    feed(reader, b"GET http://api.example:81/a HTTP/1.0\r\nX-One: 1\r\n\r\n")

    assert requests.heads[0]["headers"] == [(b"host", b"api.example:81"), (b"x-one", b"1")]


def test_an_absolute_form_leaves_the_host_that_came_with_it() -> None:
    reader, requests = reading()

    feed(reader, b"GET http://api:80/a HTTP/1.0\r\nHost: api\r\n\r\n")

    assert requests.heads[0]["headers"] == [(b"host", b"api")]
