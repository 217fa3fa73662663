"""How many items a metadata document holds.

The collection is ``{"metadata": {"key": "value", …}}``, in XML a ``<metadata>`` of elements
``<meta key="…">…</meta>`` (compute API v2, "Metadata"). Keys and values are at most 255 characters, so a
document of n items has a greatest possible size: one that is larger need not be read to its end.
"""

import json
from xml.etree.ElementTree import ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

ITEM_BYTES = 4096
"""More than key, value and punctuation can take, every character escaped (six bytes each in JSON)."""

DOCUMENT_BYTES = 65536
"""Room for whatever else stands in a document."""


def most_bytes(items: int) -> int:
    """Return the size that a document of ``items`` items does not exceed."""
    return items * ITEM_BYTES + DOCUMENT_BYTES


def count_items(body: bytes, content_type: bytes) -> int | None:
    """Return the number of items in a metadata collection, or None if ``body`` is none."""
    try:
        return _in_xml(body) if b"xml" in content_type.lower() else _in_json(body)
    except (ValueError, ParseError, DefusedXmlException, RecursionError):
        return None


def _in_json(body: bytes) -> int | None:
    document = json.loads(body)
    metadata = document.get("metadata") if isinstance(document, dict) else None
    return len(metadata) if isinstance(metadata, dict) else None


def _in_xml(body: bytes) -> int | None:
    root = fromstring(body)
    if root.tag.rpartition("}")[2] != "metadata":
        return None
    return sum(1 for child in root if child.tag.rpartition("}")[2] == "meta")
