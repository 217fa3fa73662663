"""Which heads become requests, as a table, and for any head at all."""

import string
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metaproxy.protocol.faults import Fault
from metaproxy.server.strictness import (
    FRAMING_BYTES_PER_BYTE,
    FREE_FRAMING_BYTES,
    is_mostly_framing,
    origin_form,
)

HOST = (b"host", b"a.example")
CHUNKED = (b"transfer-encoding", b"chunked")


class Taken(NamedTuple):
    """A head that becomes a request about ``path``."""

    what: str
    target: bytes
    path: bytes
    version: str = "1.1"
    headers: tuple[tuple[bytes, bytes], ...] = (HOST,)


class Refused(NamedTuple):
    """A head that is refused."""

    what: str
    status: int
    reason: str
    target: bytes = b"/"
    version: str = "1.1"
    headers: tuple[tuple[bytes, bytes], ...] = (HOST,)
    switches: bool = False


TAKEN = [
    Taken("a path", b"/v2.1/", b"/v2.1/"),
    Taken("a query", b"/a?b=c", b"/a?b=c"),
    Taken("a question mark in the query", b"/a?b?c", b"/a?b?c"),
    Taken("two slashes are a path, if a strange one", b"//a.example/b", b"//a.example/b"),
    Taken("absolute form", b"http://a.example/b?c", b"/b?c"),
    Taken("absolute form without a path", b"http://a.example", b"/"),
    Taken("absolute form with a query alone", b"http://a.example?b", b"/?b"),
    Taken("absolute form of https", b"HTTPS://A.Example/b", b"/b"),
    Taken("absolute form with the Host's port", b"http://a:1/b", b"/b", headers=((b"host", b"a:1"),)),
    Taken("absolute form with the scheme's port", b"http://a.example:80/b", b"/b"),
    Taken("absolute form with the port of https", b"https://a.example:443/b", b"/b"),
    Taken("a Host with the scheme's port", b"http://a/b", b"/b", headers=((b"host", b"A:80"),)),
    Taken("absolute form from HTTP/1.0 without Host", b"http://b.example/c", b"/c", "1.0", ()),
    Taken("HTTP/1.0 without Host", b"/a", b"/a", "1.0", ()),
    Taken("HTTP/1.0 with Host", b"/a", b"/a", "1.0"),
    Taken("an address", b"/a", b"/a", headers=((b"host", b"192.0.2.1:8774"),)),
    Taken("an IPv6 address", b"/a", b"/a", headers=((b"host", b"[2001:db8::1]:8774"),)),
    Taken("white space around the Host", b"/a", b"/a", headers=((b"host", b" a.example\t"),)),
    Taken("chunked", b"/a", b"/a", headers=(HOST, CHUNKED)),
    Taken("chunked in capitals", b"/a", b"/a", headers=(HOST, (b"transfer-encoding", b" Chunked\t"))),
    Taken("another field twice", b"/a", b"/a", headers=(HOST, (b"x", b"1"), (b"x", b"2"))),
]

REFUSED = [
    Refused("another protocol", 501, "upgrade_refused", switches=True),
    Refused("HTTP/0.9", 505, "version_unknown", version="0.9", headers=()),
    Refused("HTTP/2.0", 505, "version_unknown", version="2.0"),
    Refused("HTTP/1.2", 505, "version_unknown", version="1.2"),
    Refused("no Host", 400, "host_ambiguous", headers=()),
    Refused("two Hosts", 400, "host_ambiguous", headers=(HOST, HOST)),
    Refused("two Hosts of HTTP/1.0", 400, "host_ambiguous", version="1.0", headers=(HOST, HOST)),
    Refused("an empty Host", 400, "host_invalid", headers=((b"host", b""),)),
    Refused("a Host with a path", 400, "host_invalid", headers=((b"host", b"a/b"),)),
    Refused("a Host with user information", 400, "host_invalid", headers=((b"host", b"a@b"),)),
    Refused("a list of Hosts", 400, "host_invalid", headers=((b"host", b"a, b"),)),
    Refused("a port of six digits", 400, "host_invalid", headers=((b"host", b"a:123456"),)),
    Refused("a bracket left open", 400, "host_invalid", headers=((b"host", b"[::1"),)),
    Refused("a Host with a line break", 400, "host_invalid", headers=((b"host", b"a\n"),)),
    Refused("a fragment", 400, "target_invalid", b"/a#b"),
    Refused("a fragment in absolute form", 400, "target_invalid", b"http://a.example/b#c"),
    Refused("an asterisk", 400, "target_invalid", b"*"),
    Refused("an authority", 400, "target_invalid", b"a.example:443"),
    Refused("another scheme", 400, "target_invalid", b"ftp://a.example/"),
    Refused("no authority", 400, "target_invalid", b"http:///b"),
    Refused("an authority with user information", 400, "target_invalid", b"http://b@a.example/"),
    Refused("an empty target", 400, "target_invalid", b""),
    Refused("an authority that is not the Host's", 400, "host_ambiguous", b"http://b.example/"),
    Refused("a port that is not the Host's", 400, "host_ambiguous", b"http://a.example:8080/"),
    Refused("the port of the other scheme", 400, "host_ambiguous", b"https://a.example:80/"),
    Refused("another coding", 501, "transfer_coding_unknown",
            headers=(HOST, (b"transfer-encoding", b"gzip"))),
    Refused("two codings", 501, "transfer_coding_unknown",
            headers=(HOST, (b"transfer-encoding", b"gzip, chunked"))),
    Refused("chunked twice", 501, "transfer_coding_unknown", headers=(HOST, CHUNKED, CHUNKED)),
    Refused("chunked with a parameter", 501, "transfer_coding_unknown",
            headers=(HOST, (b"transfer-encoding", b"chunked;a=b"))),
    Refused("a vertical tab before chunked", 501, "transfer_coding_unknown",
            headers=(HOST, (b"transfer-encoding", b"\x0bchunked"))),
    Refused("no coding at all", 501, "transfer_coding_unknown", headers=(HOST, (b"transfer-encoding", b""))),
    Refused("chunked from HTTP/1.0", 400, "framing_ambiguous", version="1.0", headers=(HOST, CHUNKED)),
]  # fmt: skip


@pytest.mark.parametrize("case", TAKEN, ids=lambda case: case.what)
def test_a_head_that_says_one_thing_is_taken(case: Taken) -> None:
    for _ in range(2):  # a Host is known the second time
        taken = origin_form(case.target, case.version, list(case.headers), switches_protocol=False)
        assert taken == case.path


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.what)
def test_a_head_that_could_say_two_things_is_refused_and_the_connection_closed(case: Refused) -> None:
    for _ in range(2):
        with pytest.raises(Fault) as refused:
            origin_form(case.target, case.version, list(case.headers), switches_protocol=case.switches)
        assert (refused.value.status, refused.value.reason) == (case.status, case.reason)
        assert refused.value.close


AUTHORITY_OCTETS = (string.ascii_letters + string.digits + "-._~!$&'()*+,;=%:[]").encode()
names = st.sampled_from([b"host", b"transfer-encoding", b"content-length", b"x"])
values = st.one_of(
    st.binary(max_size=12),
    st.sampled_from([b"a.example", b"A.EXAMPLE", b"chunked", b"gzip", b"a:1", b"[::1]"]),
)
targets = st.one_of(
    st.binary(max_size=20),
    st.binary(max_size=10).map(lambda rest: b"/" + rest),
    st.binary(max_size=10).map(lambda rest: b"http://a.example" + rest),
)


def origin_form_or_fault(
    target: bytes, version: str, headers: list[tuple[bytes, bytes]], *, switches: bool
) -> bytes | Fault:
    try:
        return origin_form(target, version, headers, switches_protocol=switches)
    except Fault as refused:
        return refused


@settings(deadline=None)
@given(
    target=targets,
    version=st.sampled_from(["0.9", "1.0", "1.1", "1.2", "2.0"]),
    headers=st.lists(st.tuples(names, values), max_size=4),
    switches=st.booleans(),
)
def test_what_is_taken_has_one_host_one_path_and_at_most_chunked(
    target: bytes, version: str, headers: list[tuple[bytes, bytes]], switches: bool
) -> None:
    taken = origin_form_or_fault(target, version, headers, switches=switches)
    if isinstance(taken, Fault):
        assert taken.status in (400, 501, 505)
        assert taken.close
        return

    hosts = [value for name, value in headers if name == b"host"]
    codings = [value.strip(b" \t").lower() for name, value in headers if name == b"transfer-encoding"]
    assert not switches
    assert version in ("1.0", "1.1")
    assert taken.startswith(b"/")
    assert b"#" not in taken
    assert len(hosts) == 1 or (version == "1.0" and not hosts)
    assert all(octet in AUTHORITY_OCTETS for host in hosts for octet in host.strip(b" \t"))
    assert codings in ([], [b"chunked"])
    assert version == "1.1" or not codings
    if not target.startswith(b"/"):
        assert not hosts or hosts[0].strip(b" \t").lower() in target.lower()


@settings(deadline=None)
@given(framing=st.integers(0, 1 << 24), body=st.integers(0, 1 << 24), more=st.integers(0, 1 << 20))
def test_framing_is_too_much_in_proportion_to_the_body(framing: int, body: int, more: int) -> None:
    too_much = is_mostly_framing(framing, body)

    assert too_much == (framing > FREE_FRAMING_BYTES + FRAMING_BYTES_PER_BYTE * body)
    assert is_mostly_framing(framing + more, body) >= too_much
    assert is_mostly_framing(framing, body + more) <= too_much


def test_chunks_of_one_byte_with_a_short_extension_are_never_too_much() -> None:
    assert not any(
        is_mostly_framing(len(b"1;a=b\r\n\r\n") * octets, octets) for octets in range(1, 100_000, 997)
    )
