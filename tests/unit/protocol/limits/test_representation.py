import json
from typing import Any

import pytest
from defusedxml.ElementTree import fromstring
from hypothesis import given
from hypothesis import strategies as st

from metaproxy.protocol.limits.representation import parse, render

JSON = b"application/json"
XML = b"application/xml"
LIMITS: dict[str, Any] = {
    "rate": [
        {
            "uri": "*/images/*",
            "regex": "^/images",
            "limit": [
                {
                    "verb": "GET",
                    "value": 1000,
                    "remaining": 998,
                    "unit": "MINUTE",
                    "next-available": "2026-11-23T20:00:00Z",
                }
            ],
        }
    ],
    "absolute": {"maxImageMeta": 40},
}


def test_json_is_an_object_named_limits() -> None:
    assert json.loads(render(LIMITS, JSON)) == {"limits": LIMITS}


def test_xml_is_that_of_compute_api_v2() -> None:
    assert render(LIMITS, XML).decode() == (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<limits xmlns="http://docs.openstack.org/common/api/v1.0"><rates>'
        '<rate uri="*/images/*" regex="^/images"><limit verb="GET" value="1000" remaining="998" '
        'unit="MINUTE" next-available="2026-11-23T20:00:00Z" /></rate></rates>'
        '<absolute><limit name="maxImageMeta" value="40" /></absolute></limits>'
    )


@pytest.mark.parametrize("media_type", [JSON, XML])
def test_what_is_written_can_be_read(media_type: bytes) -> None:
    assert parse(render(LIMITS, media_type), media_type + b"; charset=utf-8") == LIMITS


@given(st.text(st.characters(exclude_categories=("Cs", "Cc"))))
def test_any_text_of_an_upstream_makes_well_formed_xml(text: str) -> None:
    rates = [{"uri": text, "regex": text, "limit": [{"verb": text, "value": text}]}]
    root = fromstring(render({"rate": rates, "absolute": {text: text}}, XML))
    assert next(iter(root[0])).get("uri") == text


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", JSON),
        (b"{", JSON),
        (b"[]", JSON),
        (b'{"limits": []}', JSON),
        (b'{"limits": {"rate": {}, "absolute": {"a": 1}, "x": 1}}', b"text/html"),
        (b'{"limits": {"rate": 5}}', JSON),
        (b'{"limits": {"rate": [5]}}', JSON),
        (b'{"limits": {"absolute": [1]}}', JSON),
        (b"[" * 100_000, JSON),
        (b"<limits", XML),
        (b"<other/>", XML),
        (b'<!DOCTYPE l [<!ENTITY a "a">]><limits/>', XML),
    ],
)
def test_what_is_no_limits_answer_is_none(body: bytes, content_type: bytes) -> None:
    assert parse(body, content_type) is None


def test_empty_lists_may_be_null() -> None:
    assert parse(b'{"limits": {"rate": null}}', JSON) == {"rate": None}
