import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaproxy.protocol.limits.metadata import count_items, most_bytes

JSON = b"application/json"
XML = b"application/xml"
BOMB = b'<!DOCTYPE m [<!ENTITY a "aaaa">]><metadata><meta key="k">&a;</meta></metadata>'


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        (b'{"metadata": {}}', JSON, 0),
        (b'{"metadata": {"a": "1", "b": "2"}}', b"application/json; charset=UTF-8", 2),
        (b'{"metadata": {"a": "1"}}', b"", 1),
        (b'{"metadata": ["a"]}', JSON, None),
        (b'{"meta": {"a": "1"}}', JSON, None),
        (b"[1]", JSON, None),
        (b"{", JSON, None),
        (b"\xff", JSON, None),
        (b"[" * 100_000, JSON, None),
        (b'<metadata><meta key="a">1</meta><other/></metadata>', XML, 1),
        (b'<metadata xmlns="urn:x"><meta key="a"/><meta key="b"/></metadata>', XML, 2),
        (b"<meta/>", XML, None),
        (b"<metadata>", XML, None),
        (BOMB, XML, None),
    ],
)
def test_the_items_of_a_collection_are_counted(
    body: bytes, content_type: bytes, expected: int | None
) -> None:
    assert count_items(body, content_type) == expected


texts = st.text(min_size=1, max_size=255)


@given(st.dictionaries(texts, texts, max_size=5))
def test_no_document_is_larger_than_its_items_allow(items: dict[str, str]) -> None:
    assert len(json.dumps({"metadata": items}, indent=4)) <= most_bytes(len(items))
