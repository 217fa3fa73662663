import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaproxy.protocol.received import settled

Fields = list[tuple[bytes, bytes]]


def test_blanks_around_a_value_are_no_part_of_it() -> None:
    fields = [(b"x-auth-token", b"t \t"), (b"x-a", b"\t b  c "), (b"x-b", b"  "), (b"x-c", b"")]

    assert settled(fields) == [(b"x-auth-token", b"t"), (b"x-a", b"b  c"), (b"x-b", b""), (b"x-c", b"")]


def test_a_vertical_tab_is_no_blank() -> None:
    assert settled([(b"x-a", b"\x0ba\x0b")]) == [(b"x-a", b"\x0ba\x0b")]


@pytest.mark.parametrize("connection", [b"X-Once", b"close, X-ONCE", b"x-once\t ,keep-alive", b"te,,x-once"])
def test_a_field_that_connection_names_is_off_with_it(connection: bytes) -> None:
    fields = [(b"accept", b"*/*"), (b"x-once", b"1"), (b"connection", connection), (b"x-once", b"2")]

    assert settled(fields) == [(b"accept", b"*/*")]


def test_several_connection_fields_are_one_list() -> None:
    fields = [(b"connection", b"close"), (b"x-once", b"1"), (b"connection", b"x-once"), (b"x-twice", b"2")]

    assert settled(fields) == [(b"x-twice", b"2")]


@pytest.mark.parametrize(
    "name",
    ["content-length", "transfer-encoding", "host", "via", "forwarded", "x-forwarded-for", "x-real-ip"],
)
def test_framing_host_and_what_proxies_say_cannot_be_named_away(name: str) -> None:
    fields = [(b"connection", name.encode()), (name.encode(), b"1")]

    assert settled(fields)[-1] == (name.encode(), b"1")


@pytest.mark.parametrize("connection", [b"close", b"keep-alive", b"Keep-Alive, TE", b"Upgrade", b""])
def test_a_usual_head_is_left_as_it_is(connection: bytes) -> None:
    fields = [(b"host", b"h"), (b"connection", connection)]

    assert settled(fields) == fields


names = st.sampled_from([b"connection", b"accept", b"x-a", b"x-b", b"via", b"host"])
values = st.sampled_from(
    [b"x-a", b" X-A ", b"x-b,x-a", b"close", b"accept\t", b"", b" ", b"connection", b"via"]
)


@given(st.lists(st.tuples(names, values), max_size=6))
def test_a_head_that_is_settled_stays_so(fields: Fields) -> None:
    once = settled(fields)

    assert settled(once) == once
    assert all(value == value.strip(b" \t") for _, value in once)
