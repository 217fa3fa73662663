"""Reading responses, without a connection."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaproxy.forward.engine.parser import MAX_HEAD_BYTES, ResponseParser
from metaproxy.forward.errors import InvalidResponse, TruncatedResponse

RESPONSE = (
    b"HTTP/1.1 200 OK\r\nVary: OpenStack-API-Version\r\nX-Empty:\r\n"
    b"Vary: X-OpenStack-Nova-API-Version\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"4;extension=1\r\nbody\r\n3\r\nend\r\n0\r\nX-Trailer: dropped\r\n\r\n"
)


def parse(*pieces: bytes, method: str = "GET") -> tuple[ResponseParser, bytes]:
    parser = ResponseParser()
    parser.expect(method)
    return parser, b"".join([parser.feed(piece) for piece in pieces])


@given(st.lists(st.integers(1, len(RESPONSE) - 1)))
def test_a_response_reads_the_same_wherever_it_is_cut(cuts: list[int]) -> None:
    borders = [0, *sorted(set(cuts)), len(RESPONSE)]
    pieces = [RESPONSE[start:end] for start, end in itertools.pairwise(borders)]

    parser, body = parse(*pieces)

    assert body == b"bodyend"
    assert parser.complete
    assert parser.persistent
    assert parser.head is not None
    assert parser.head.status == 200
    assert parser.head.headers == [
        (b"vary", b"OpenStack-API-Version"),
        (b"x-empty", b""),
        (b"vary", b"X-OpenStack-Nova-API-Version"),
        (b"transfer-encoding", b"chunked"),
    ]


@pytest.mark.parametrize(
    ("response", "method"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n", "HEAD"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "HEAD"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "GET"),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 30\r\n\r\n", "GET"),
    ],
)
def test_what_never_has_a_body_is_complete_with_its_head(response: bytes, method: str) -> None:
    parser, body = parse(response, method=method)

    assert parser.complete
    assert parser.persistent
    assert body == b""


def test_a_body_sent_in_answer_to_head_is_not_taken_and_ends_the_connection() -> None:
    parser, body = parse(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", method="HEAD")

    assert parser.complete
    assert not parser.persistent
    assert body == b""


def test_the_response_after_one_to_head_is_read_from_its_start() -> None:
    parser, _ = parse(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", method="HEAD")
    parser.expect("GET")

    assert parser.feed(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno") == b"no"
    assert parser.head is not None
    assert parser.head.status == 404


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: 2\r\nContent-Length: 2\r\n",
        b"Content-Length: 2, 2\r\n",
        b"Content-Length: +2\r\n",
        b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding: identity\r\n",
        b"X-Folded: one\r\n two\r\n",
        b"X-Space : one\r\n",
        b"X-Null: one\0two\r\n",
        b"X-Bare: one\rtwo\r\n",
        b"X-Bare: one\n",
    ],
)
def test_fields_that_two_readers_could_read_in_two_ways(fields: bytes) -> None:
    with pytest.raises(InvalidResponse):
        parse(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n")


@pytest.mark.parametrize(
    "start",
    [
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/0.9 200 OK\r\n\r\n",
        b"HTTP/1.1 099 Too Small\r\n\r\n",
        b"HTTP/1.1 600 Too Large\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
    ],
)
def test_heads_that_are_no_answer(start: bytes) -> None:
    with pytest.raises(InvalidResponse):
        parse(start)


@pytest.mark.parametrize(
    ("start", "persistent"),
    [
        (b"HTTP/1.1 200 OK\r\n", True),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n", False),
        (b"HTTP/1.1 200 OK\r\nConnection: X-Other, Close\r\n", False),
        (b"HTTP/1.0 200 OK\r\n", False),
        (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n", True),
        (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive, close\r\n", False),
    ],
)
def test_whether_the_connection_persists(start: bytes, persistent: bool) -> None:
    parser, body = parse(start + b"Content-Length: 2\r\n\r\nok")

    assert body == b"ok"
    assert parser.persistent is persistent


def test_a_body_without_length_ends_with_the_connection() -> None:
    parser, body = parse(b"HTTP/1.1 200 OK\r\n\r\nso far")
    assert (body, parser.complete) == (b"so far", False)

    parser.feed_eof()

    assert parser.complete
    assert not parser.persistent


@pytest.mark.parametrize(
    "cut",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nso far",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nso far\r\n",
    ],
)
def test_a_body_with_an_end_of_its_own_must_reach_it(cut: bytes) -> None:
    parser, _ = parse(cut)

    with pytest.raises(TruncatedResponse):
        parser.feed_eof()


def test_a_head_that_comes_at_once_with_its_body_is_limited_too() -> None:
    fields = b"X-Many: of the same\r\n" * 4000

    with pytest.raises(InvalidResponse):
        parse(b"HTTP/1.1 200 OK\r\n" + fields + b"Content-Length: 2\r\n\r\nok")


def test_a_large_body_that_comes_at_once_with_its_head_is_fine() -> None:
    _, body = parse(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + bytes(200_000))

    assert len(body) == 200_000


@given(st.binary(max_size=300))
def test_no_bytes_make_it_fail_in_another_way(data: bytes) -> None:
    try:
        parser, _ = parse(b"HTTP/1.1 200 OK\r\n" + data)
        parser.feed_eof()
    except (InvalidResponse, TruncatedResponse):
        pass


@pytest.mark.parametrize("size", [MAX_HEAD_BYTES - 100, MAX_HEAD_BYTES + 100])
@pytest.mark.parametrize("before_its_end", [0, 1, 4, 5, 40_000])
@pytest.mark.parametrize("body", [b"", b"b", b"body"])
def test_a_large_head_is_taken_or_refused_however_it_was_cut(
    size: int, before_its_end: int, body: bytes
) -> None:
    start = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-Large: " % len(body)
    head = start.ljust(size - 4, b"x") + b"\r\n\r\n"
    cut = size - before_its_end
    pieces = (head[:cut], head[cut:] + body)

    if size > MAX_HEAD_BYTES:
        with pytest.raises(InvalidResponse):
            parse(*pieces)
    else:
        assert parse(*pieces)[1] == body
