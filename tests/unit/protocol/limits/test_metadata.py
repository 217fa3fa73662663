import gzip
import json
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaproxy.protocol.limits.metadata import MAX_OTHERS, Uncountable, count_items, exceeds, most_bytes

compress = partial(gzip.compress, mtime=0)
"""Without the time: the names of tests must be the same in each worker."""

JSON = b"application/json"
XML = b"application/xml"
BOMB = b'<!DOCTYPE m [<!ENTITY a "aaaa">]><metadata><meta key="k">&a;</meta></metadata>'
TWO = b'{"metadata": {"a": "1", "b": "2"}}'
TWO_IN_XML = b'<metadata><meta key="a">1</meta><meta key="b">2</meta></metadata>'

COUNTED: list[tuple[bytes, list[bytes], int]] = [
    (b'{"metadata": {}}', [JSON], 0),
    (b'{"meta": {"a": "1"}}', [JSON], 1),
    (b'{"metadata": ["a", "b", "c"]}', [JSON], 3),
    (b'{"metadata": {"a": 1}, "meta": {"b": 2, "c": 3}}', [JSON], 3),
    (b'{"metadata": {"a": 1, "b": 2}, "metadata": {}}', [JSON], 2),
    (b'{"metadata": {}, "metadata": {"a": 1, "b": 2}}', [JSON], 2),
    (b'{"metadata": {"a": 1, "a": 2}}', [JSON], 2),
    (b'{"metadata": "text", "other": {"a": 1}}', [JSON], 0),
    (b"[1]", [JSON], 0),
    (b"null", [JSON], 0),
    (b'<metadata xmlns="urn:x"><meta key="a"/><meta key="b"/></metadata>', [XML], 2),
    (b'<x:metadata xmlns:x="urn:x"><x:meta key="a"/><other/></x:metadata>', [XML], 1),
    (b"<any><meta/><deeper><meta/></deeper></any>", [XML], 2),
    (b"<meta/>", [XML], 1),
]


@pytest.mark.parametrize(("body", "content_types", "expected"), COUNTED)
def test_the_items_of_a_collection_are_counted(
    body: bytes, content_types: list[bytes], expected: int
) -> None:
    assert count_items(body, content_types) == expected


JSON_TYPES = [
    [],
    [b""],
    [JSON],
    [b"APPLICATION/JSON"],
    [b"application/json; charset=UTF-8"],
    [b'application/json; charset="utf-8"'],
    [b"application/json;charset=iso-8859-1"],
    [b"application/json;charset=windows-1252"],
    [b"application/json; profile=xml"],
    [b"application/json;x=application/xml"],
    [b"APPLICATION/JSON;XML=1"],
    [b"application/json; a=b+xml"],
    [b'application/json; profile="a, application/xml"'],
    [b'application/json; profile="a\\", application/xml"'],
    [b'application/json; profile="a, application/xml'],
    [b"application/vnd.x+xml+json"],
    [b"application/vnd.openstack.compute+json"],
    [b"application/xml-json"],
    [b"text/plain"],
    [b"text/xmlish"],
    [b"application/octet-stream"],
    [b" application/json ; charset=utf-8"],
    [JSON, JSON],
    [b"application/json, application/json"],
    [JSON, b"text/plain"],
]
XML_TYPES = [
    [XML],
    [b"text/xml"],
    [b"Application/XML;charset=utf-8"],
    [b"application/xml; profile=json"],
    [b"application/vnd.x+json+xml"],
    [b"application/atom+xml"],
    [b"text/xml , application/xml"],
]


@pytest.mark.parametrize("content_types", JSON_TYPES)
def test_the_media_type_names_json(content_types: list[bytes]) -> None:
    assert count_items(TWO, content_types) == 2
    with pytest.raises(Uncountable, match="is not JSON"):
        count_items(TWO_IN_XML, content_types)


@pytest.mark.parametrize("content_types", XML_TYPES)
def test_the_media_type_names_xml(content_types: list[bytes]) -> None:
    assert count_items(TWO_IN_XML, content_types) == 2
    with pytest.raises(Uncountable, match="is not XML"):
        count_items(TWO, content_types)


@pytest.mark.parametrize(
    ("body", "content_types"),
    [
        (TWO.decode().encode("utf-16"), [JSON]),
        (TWO.decode().encode("utf-16"), [b"application/json; charset=utf-16"]),
        (TWO.decode().encode("utf-16-le"), [b"application/json; charset=utf-16le"]),
        (TWO.decode().encode("utf-32"), [JSON]),
        (TWO.decode().encode("utf-8-sig"), [JSON]),
        (TWO, [b"application/json; charset=utf-16"]),
        (TWO_IN_XML.decode().encode("utf-16"), [XML]),
        (TWO_IN_XML.decode().encode("utf-8-sig"), [XML]),
        (b'<?xml version="1.0" encoding="iso-8859-1"?>' + TWO_IN_XML.replace(b"1", b"\xe9"), [XML]),
        (TWO_IN_XML.replace(b"1", b"\xe9"), [b"text/xml; charset=ISO-8859-1"]),
        (TWO.replace(b"1", b"\xe9"), [b"application/json; charset=latin1"]),
    ],
)
def test_an_encoding_hides_no_items(body: bytes, content_types: list[bytes]) -> None:
    assert count_items(body, content_types) == 2


@pytest.mark.parametrize(
    ("body", "content_types", "why"),
    [
        (b"{", [JSON], "is not JSON"),
        (b" ", [JSON], "is not JSON"),
        (b"\xff", [JSON], "is not JSON"),
        (TWO + b"{}", [JSON], "is not JSON"),
        pytest.param(b"[" * 1_000_000, [JSON], "is not JSON", id="large-1"),
        pytest.param(b'{"metadata":' * 100_000, [JSON], "is not JSON", id="large-2"),
        pytest.param(b'{"metadata": {"a": ' + b"9" * 100_000 + b"}}", [JSON], "is not JSON", id="large-3"),
        (b"<metadata>", [XML], "is not XML"),
        (b"text", [XML], "is not XML"),
        (b"<a>" * 1000, [XML], "is not XML"),
        (b'<?xml version="1.0" encoding="no-such"?>' + TWO_IN_XML, [XML], "is not XML"),
        (b'<?xml version="1.0" encoding="utf-7"?>' + TWO_IN_XML, [XML], "is not XML"),
        (BOMB, [XML], "declares a document type"),
        pytest.param(b"<a>" * 300_000, [XML], "too many elements", id="large-4"),
        pytest.param(b"<a/>" * 300_000, [XML], "is not XML", id="large-5"),
        pytest.param(b"<m>" + b"<a/>" * (MAX_OTHERS + 1) + b"</m>", [XML], "too many elements", id="large-6"),
        (TWO, [JSON, XML], "several media types"),
        (TWO, [b"application/json, application/xml"], "several media types"),
        (TWO, [b"application/json; a=b, application/xml"], "several media types"),
        (TWO, [b"application/json; charset=utf-8; charset=iso-8859-1"], "several media types"),
        (TWO, [b"application/json; charset=utf-7"], "charset"),
        (TWO, [b"application/json; charset=ibm037"], "charset"),
        (TWO, [b'application/json; a="charset=utf-8";charset=utf-7'], "several media types|charset"),
    ],
)
def test_what_cannot_be_counted_says_why(body: bytes, content_types: list[bytes], why: str) -> None:
    with pytest.raises(Uncountable, match=why):
        count_items(body, content_types)


@pytest.mark.parametrize(
    ("limit", "body", "codings", "expected"),
    [
        (2, TWO, [], False),
        (1, TWO, [], True),
        (1, b"", [], False),
        (2, compress(TWO), [b"gzip"], False),
        (1, compress(TWO), [b"gzip"], True),
        (1, compress(TWO[:9]) + compress(TWO[9:]), [b"gzip"], True),
        (1, compress(b" " * 10_000_000), [b"gzip"], True),
        (1, TWO, [b"identity"], True),
    ],
)
def test_items_are_counted_without_codings(
    limit: int, body: bytes, codings: list[bytes], expected: bool
) -> None:
    fields = [(b"content-type", JSON), *((b"content-encoding", coding) for coding in codings)]
    assert exceeds(limit, body, fields) is expected


@pytest.mark.parametrize("codings", [[b"br"], [b"gzip", b"gzip"], [b"gzip"]])
def test_a_coding_that_cannot_be_taken_off_cannot_be_counted(codings: list[bytes]) -> None:
    with pytest.raises(Uncountable, match="Content-Encoding"):
        exceeds(9, TWO, [(b"content-encoding", coding) for coding in codings])


texts = st.text(min_size=1, max_size=255)


@given(st.dictionaries(texts, texts, max_size=5))
def test_no_document_is_larger_than_its_items_allow(items: dict[str, str]) -> None:
    assert len(json.dumps({"metadata": items}, indent=4)) <= most_bytes(len(items))


def test_a_document_of_the_longest_items_is_within_its_size() -> None:
    items = {f"{number:03}" + "\U0001f600" * 252: "\U0001f600" * 255 for number in range(100)}
    assert len(json.dumps({"metadata": items}, indent=4)) <= most_bytes(len(items))


@given(
    st.dictionaries(texts, texts, max_size=5),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]),
    st.sampled_from([b"gzip", b"identity"]),
)
def test_every_spelling_of_a_document_holds_the_same_number_of_items(
    items: dict[str, str], encoding: str, coding: bytes
) -> None:
    body = json.dumps({"metadata": items}).encode(encoding)
    fields = [(b"content-encoding", coding)]
    body = compress(body) if coding == b"gzip" else body

    assert not exceeds(len(items), body, fields)
    assert not items or exceeds(len(items) - 1, body, fields)


@given(st.binary(max_size=200), st.sampled_from([*JSON_TYPES, *XML_TYPES]))
def test_any_bytes_are_counted_or_refused(body: bytes, content_types: list[bytes]) -> None:
    try:
        assert count_items(body, content_types) >= 0
    except Uncountable as error:
        assert str(error)  # noqa: PT017
