from typing import Any

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaproxy.fast_lane.reads import read_of
from metaproxy.protocol.paths import ambiguity

SECTION = b"Host: api\r\n\r\n"


def test_a_read_is_told_by_its_request_line() -> None:
    read = read_of(b"GET /v2.1/servers?limit=1&name=a%20b HTTP/1.1\r\n" + SECTION)

    assert read is not None
    assert read.line == {
        "method": "GET",
        "path": "/v2.1/servers",
        "raw_path": b"/v2.1/servers",
        "query_string": b"limit=1&name=a%20b",
    }
    assert read.section == SECTION


@pytest.mark.parametrize(
    "line",
    [
        b"POST /servers HTTP/1.1\r\n",
        b"get /servers HTTP/1.1\r\n",
        b"GET /servers HTTP/1.0\r\n",
        b"GET  /servers HTTP/1.1\r\n",
        b"GET /servers HTTP/1.1\n",
        b"GET /a%2fb HTTP/1.1\r\n",
        b"GET /servers#top HTTP/1.1\r\n",
        b"GET /servers? HTTP/1.1\r\n",
        b"GET /a;b HTTP/1.1\r\n",
        b"GET http://api/servers HTTP/1.1\r\n",
        b"GET servers HTTP/1.1\r\n",
        b"GET * HTTP/1.1\r\n",
        b"\r\nGET /servers HTTP/1.1\r\n",
        b"GET /\xc3\xa9 HTTP/1.1\r\n",
        b"GET /a\tb HTTP/1.1\r\n",
    ],
)
def test_what_takes_more_than_a_look_is_left_to_the_parser(line: bytes) -> None:
    assert read_of(line + SECTION) is None


class _Heard:
    """What the parser makes of a head."""

    def __init__(self) -> None:
        self.url = b""
        self.names: list[bytes] = []

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.names.append(name)


TARGETS = st.text(alphabet="/abZ09-._~!$&'()*+,=:@?%#; \t\"[]|\\^", max_size=24)


@given(
    st.sampled_from(["GET", "HEAD", "PUT", "GETS"]), TARGETS, st.sampled_from(["HTTP/1.1", "HTTP/1.0", "X"])
)
def test_what_a_look_says_the_parser_says_too(method: str, target: str, version: str) -> None:
    octets = f"{method} /{target} {version}\r\n".encode() + SECTION
    read = read_of(octets)
    if read is None:
        return
    heard: Any = _Heard()
    parser = httptools.HttpRequestParser(heard)

    parser.feed_data(octets)

    line = read.line
    query = b"?" + line["query_string"] if b"?" in heard.url else b""
    assert parser.get_method().decode() == line["method"]
    assert heard.url == line["raw_path"] + query
    assert line["path"].encode() == line["raw_path"]
    assert heard.names == [b"Host"]
    assert ambiguity(line["raw_path"]) in (
        None,
        "the path has an empty segment",
        "the path has a dot segment",
    )
