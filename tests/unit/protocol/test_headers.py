import pytest

from metaproxy.protocol.headers import (
    combined,
    end_to_end,
    get,
    get_all,
    list_members,
    via_element,
    via_names,
)


def test_hop_by_hop_fields_and_those_that_connection_names_are_dropped_and_order_is_kept() -> None:
    headers = [
        (b"vary", b"accept"),
        (b"connection", b"close, X-Private"),
        (b"x-private", b"1"),
        (b"keep-alive", b"timeout=5"),
        (b"vary", b"x-other"),
        (b"te", b"trailers"),
        (b"transfer-encoding", b"chunked"),
        (b"upgrade", b"h2c"),
        (b"set-cookie", b"a=1"),
    ]

    assert end_to_end(headers) == [(b"vary", b"accept"), (b"vary", b"x-other"), (b"set-cookie", b"a=1")]


@pytest.mark.parametrize(
    "name",
    [b"cache-control", b"vary", b"age", b"expires", b"cdn-cache-control", b"set-cookie", b"content-range"],
)
def test_connection_cannot_name_away_what_is_for_every_recipient(name: bytes) -> None:
    headers = [(b"connection", b"close, " + name.title()), (name, b"1"), (b"x-once", b"2")]

    assert end_to_end(headers) == [(name, b"1"), (b"x-once", b"2")]


def test_values_are_found_first_all_and_combined() -> None:
    headers = [(b"vary", b"a"), (b"date", b"x"), (b"vary", b"b")]

    assert get(headers, b"vary") == b"a"
    assert get(headers, b"etag") is None
    assert get_all(headers, b"vary") == [b"a", b"b"]
    assert combined(headers, b"vary") == b"a, b"


def test_empty_list_members_do_not_count() -> None:
    assert list(list_members(b" a ,, b,\t")) == [b"a", b"b"]


@pytest.mark.parametrize(
    ("version", "element"),
    [("0.1.0", b"1.1 metaproxy (metaproxy/0.1.0)"), (None, b"1.1 metaproxy")],
)
def test_the_via_element_names_us_and_the_version_if_it_may(version: str | None, element: bytes) -> None:
    assert via_element("metaproxy", version) == element


def test_our_name_in_via_is_counted_over_lines_and_members() -> None:
    headers = [
        (b"via", b"1.0 fred, 1.1 metaproxy (metaproxy/0.1.0)"),
        (b"via", b"1.1 MetaProxy"),
        (b"via", b"1.1 metaproxy-other"),
    ]

    assert via_names(headers, "metaproxy") == 2
