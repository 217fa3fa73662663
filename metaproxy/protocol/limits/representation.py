"""The limits answer as bytes: JSON, and the XML of compute API v2.

The upstream's XML is read with defusedxml: entities and external references of a document are never
followed.
"""

import json
from collections.abc import Iterable
from typing import Any
from xml.etree.ElementTree import Element, ParseError, SubElement, tostring

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from metaproxy.protocol.faults import COMMON_NAMESPACE, JSON, XML
from metaproxy.protocol.limits.answer import Document

RATE_ATTRIBUTES = ("verb", "value", "remaining", "unit", "next-available")
NUMBERS = frozenset({"value", "remaining"})


def render(limits: Document, media_type: bytes) -> bytes:
    """Return the body of the answer as ``application/json`` or ``application/xml``."""
    return _xml(limits) if media_type == XML else json.dumps({"limits": limits}).encode()


def parse(body: bytes, content_type: bytes) -> Document | None:
    """Return what stands under ``limits`` in an upstream's answer, or None if it is no limits answer."""
    media_type = content_type.partition(b";")[0].strip().lower()
    try:
        if media_type == JSON:
            return _checked(json.loads(body))
        return _document(fromstring(body)) if media_type in (XML, b"text/xml") else None
    except (ValueError, ParseError, DefusedXmlException, RecursionError):
        return None


def _checked(parsed: Any) -> Document | None:
    """``parsed``, where it has the shape of a limits answer."""
    limits = parsed.get("limits") if isinstance(parsed, dict) else None
    if not isinstance(limits, dict):
        return None
    rates, absolute = limits.get("rate") or [], limits.get("absolute") or {}
    fits = isinstance(rates, list) and all(isinstance(rate, dict) for rate in rates)
    return limits if fits and isinstance(absolute, dict) else None


def _document(root: Element) -> Document | None:
    if _local(root) != "limits":
        return None
    rates = [_rate(rate) for rates in _children(root, "rates") for rate in _children(rates, "rate")]
    absolute = {
        limit.get("name", ""): _number(limit.get("value", ""))
        for group in _children(root, "absolute")
        for limit in _children(group, "limit")
    }
    return {"rate": rates, "absolute": absolute}


def _rate(rate: Element) -> dict[str, Any]:
    limits = [
        {
            name: _number(value) if name in NUMBERS else value
            for name, value in limit.items()
            if name in RATE_ATTRIBUTES
        }
        for limit in _children(rate, "limit")
    ]
    return {"uri": rate.get("uri", ""), "regex": rate.get("regex", ""), "limit": limits}


def _xml(limits: Document) -> bytes:
    root = Element("limits", {"xmlns": COMMON_NAMESPACE})
    rates = SubElement(root, "rates")
    for rate in limits.get("rate") or ():
        element = SubElement(rates, "rate", uri=str(rate.get("uri", "")), regex=str(rate.get("regex", "")))
        for limit in rate.get("limit") or ():
            told = {name: str(limit[name]) for name in RATE_ATTRIBUTES if name in limit}
            SubElement(element, "limit", told)
    absolute = SubElement(root, "absolute")
    for name, value in (limits.get("absolute") or {}).items():
        SubElement(absolute, "limit", name=name, value=str(value))
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root)


def _children(parent: Element, name: str) -> Iterable[Element]:
    return (child for child in parent if _local(child) == name)


def _local(element: Element) -> str:
    return element.tag.rpartition("}")[2]


def _number(text: str) -> int | str:
    return int(text) if text.lstrip("-").isdigit() else text
