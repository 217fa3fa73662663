"""What a request looks like on the wire."""

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaproxy.forward.engine.request import outgoing
from metaproxy.forward.errors import UnsendableRequest
from tests.unit.forward.scripted import request

URL = httpx.URL("http://compute.example:8774")

target_bytes = st.binary(min_size=1, max_size=60).filter(
    lambda octets: not any(octet <= 0x20 or octet == 0x7F for octet in octets)
)
field_names = st.text("abcXYZ-019", min_size=1, max_size=12).map(str.encode)
field_values = st.binary(max_size=30).filter(lambda value: not {0, 10, 13} & set(value))


@given(target_bytes)
def test_every_target_is_written_byte_for_byte(target: bytes) -> None:
    head = outgoing(request(URL, target=b"/" + target)).head

    assert head.startswith(b"GET /" + target + b" HTTP/1.1\r\n")


@given(st.lists(st.tuples(field_names, field_values), max_size=8))
def test_every_field_keeps_its_place_its_case_and_its_duplicates(fields: list[tuple[bytes, bytes]]) -> None:
    head = outgoing(request(URL, headers=fields)).head

    lines = b"".join(name + b": " + value + b"\r\n" for name, value in fields)
    assert head == b"GET / HTTP/1.1\r\nhost: compute.example\r\n" + lines + b"\r\n"


def test_without_a_target_the_url_tells_path_and_query() -> None:
    plain = httpx.Request("GET", "http://keystone.example/v3/auth/tokens?nocatalog")

    assert outgoing(plain).head.startswith(b"GET /v3/auth/tokens?nocatalog HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "unsendable",
    [
        request(URL, headers=[(b"x-user", b"a\r\nx-roles: admin")]),
        request(URL, headers=[(b"x-user", b"a\nx-roles: admin")]),
        request(URL, headers=[(b"x-user", b"a\rb")]),
        request(URL, headers=[(b"x-user", b"a\0b")]),
        request(URL, headers=[(b"x-user\r\nx-roles", b"admin")]),
        request(URL, headers=[(b"content-length ", b"3")]),
        request(URL, target=b"/a HTTP/1.1\r\nx-roles: admin\r\n\r\n"),
        request(URL, target=b"/a b"),
        request(URL, "GET /admin HTTP/1.1\r\n"),
        request(URL, headers=[(b"content-length", b"3"), (b"content-length", b"3")]),
        request(URL, headers=[(b"content-length", b"3, 3")]),
        request(URL, headers=[(b"content-length", b"-3")]),
        request(URL, headers=[(b"content-length", b"3"), (b"transfer-encoding", b"chunked")]),
        request(URL, headers=[(b"transfer-encoding", b"chunked"), (b"content-length", b"3")]),
        request(URL, headers=[(b"transfer-encoding", b"gzip")]),
    ],
)
def test_what_could_be_read_as_another_request_is_not_written(unsendable: httpx.Request) -> None:
    with pytest.raises(UnsendableRequest):
        outgoing(unsendable)


@pytest.mark.parametrize(
    ("headers", "length"),
    [
        ([], 0),
        ([(b"Content-Length", b"0")], 0),
        ([(b"content-length", b"12")], 12),
        ([(b"Transfer-Encoding", b"Chunked")], None),
    ],
)
def test_the_length_of_the_body_is_what_the_fields_say(
    headers: list[tuple[bytes, bytes]], length: int | None
) -> None:
    assert outgoing(request(URL, "PUT", headers=headers)).length == length
