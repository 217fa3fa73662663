import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaproxy.forward.client import NO_BODY
from metaproxy.forward.engine.request import OutgoingRequest
from metaproxy.forward.repeating import repeated_section

LINE = b"GET / HTTP/1.1\r\n"
OCTETS = LINE + b"Host: api\r\nX-Auth-Token: secret\r\n\r\n"
HEAD = LINE + b"host: api\r\nx-auth-token: secret\r\nx-openstack-request-id: req-1\r\n\r\n"


def message(head: bytes = HEAD) -> OutgoingRequest:
    return OutgoingRequest("GET", head, 0, NO_BODY)


@pytest.mark.parametrize("line", [LINE, b"GET /another/one?a=1 HTTP/1.1\r\n", b""])
def test_the_same_section_makes_the_same_head_with_another_id(line: bytes) -> None:
    section = repeated_section(message(), OCTETS, token=b"secret", request_id="req-1")

    assert section is not None
    octets = line + OCTETS.removeprefix(LINE)
    assert section.message("GET", LINE, octets, "req-2").head == HEAD.replace(b"req-1", b"req-2")


def test_the_token_is_the_one_that_the_client_sends_now() -> None:
    section = repeated_section(message(), OCTETS, token=b"secret", request_id="req-1")

    assert section is not None
    octets = OCTETS.replace(b"secret", b"public")
    assert section.message("GET", LINE, octets, "req-1").head == HEAD.replace(b"secret", b"public")


def test_the_token_is_not_kept() -> None:
    section = repeated_section(message(), OCTETS, token=b"secret", request_id="req-1")

    assert b"secret" not in repr(section).encode()


def test_a_request_without_a_token_is_kept_whole() -> None:
    section = repeated_section(message(), OCTETS, token=b"", request_id="req-1")

    assert section is not None
    assert section.message("GET", LINE, b"whatever", "req-1").head == HEAD


def test_what_stands_in_more_than_one_place_is_not_told_apart() -> None:
    twice = HEAD.replace(b"host: api", b"host: secret")

    assert repeated_section(message(twice), OCTETS, token=b"secret", request_id="req-1") is None
    assert repeated_section(message(), OCTETS + b"secret", token=b"secret", request_id="req-1") is None
    assert repeated_section(message(), OCTETS, token=b"secret", request_id="req-3") is None


@given(st.binary(min_size=1, max_size=8), st.binary(max_size=30), st.binary(max_size=30))
def test_whatever_the_token_is_the_head_comes_out_as_it_was(token: bytes, one: bytes, other: bytes) -> None:
    octets = one + token + other
    written = LINE + token + b"\r\nid: req-1\r\n\r\n"

    section = repeated_section(message(written), octets, token=token, request_id="req-1")

    if section is not None:
        assert section.message("GET", LINE, octets, "req-1").head == written
