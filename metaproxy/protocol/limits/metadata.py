"""The number of items that a metadata document holds.

Facts this file rests on. The collection is ``{"metadata": {"key": "value", …}}``, in XML an element with
children ``<meta key="…">…</meta>`` (compute API v2, "Metadata"). Keys and values are at most 255
characters, so a document of n items has a greatest possible size, and a larger one need not be read to its
end. The media type decides which parser reads a document, whatever stands in its parameters (RFC 9110
§8.3.1, RFC 7303 for ``+xml``); Nova reads a body without a type, or with one that is not XML's, as JSON or
not at all. JSON may name a member twice, and readers differ in which of them counts (RFC 8259 §4): here
every one does.
"""

import json
import re
from collections.abc import Iterable
from typing import Any
from xml.parsers import expat

from metaproxy.protocol import headers
from metaproxy.protocol.content_coding import UnknownCoding, decoded
from metaproxy.protocol.headers import Headers

ITEM_BYTES = 6400
"""More than key, value and punctuation take if every character is escaped, in JSON as two times six bytes."""

DOCUMENT_BYTES = 65536
"""Room for whatever else stands in a document."""

MAX_BYTES = 64 << 20
"""The largest document that is counted, however many items are allowed."""

MAX_OTHERS = 1000
"""Elements of a collection in XML that are no items: each of them costs a call."""

COLLECTIONS = frozenset({"metadata", "meta"})

CHARSETS = {
    "": "",
    "ascii": "",
    "us-ascii": "",
    "utf-8": "",
    "utf8": "",
    "utf-16": "",
    "utf-16le": "",
    "utf-16be": "",
    "utf-32": "",
    "iso-8859-1": "iso-8859-1",
    "latin1": "iso-8859-1",
    "windows-1252": "cp1252",
}
"""The charsets that a document may name, with the codec to use; "" leaves it to the document itself.

In any other encoding, such as UTF-7, the same bytes could be another document to the upstream.
"""

_LIST = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+')
_CHARSET = re.compile(r';[ \t]*charset[ \t]*=[ \t]*"?([^";, \t]*)', re.IGNORECASE)


class Uncountable(ValueError):
    """A document whose items cannot be counted; the message is a clause that says why."""


def most_bytes(items: int) -> int:
    """Return the size that a document of ``items`` items does not exceed, and that may be held in memory."""
    return min(items * ITEM_BYTES + DOCUMENT_BYTES, MAX_BYTES)


def exceeds(limit: int, body: bytes, fields: Headers) -> bool:
    """Say whether a body with these header fields holds more than ``limit`` items; raises Uncountable."""
    if not body:
        return False
    codings = headers.combined(fields, b"content-encoding")
    try:
        document = decoded(body, codings, most_bytes(limit))
    except UnknownCoding as error:
        raise Uncountable(str(error)) from error
    if document is None:
        return True
    return count_items(document, headers.get_all(fields, b"content-type")) > limit


def count_items(body: bytes, content_types: Iterable[bytes]) -> int:
    """Return the number of items in a metadata collection; raises Uncountable.

    Args:
        content_types: the value of each Content-Type field.
    """
    types = [
        part.strip()
        for value in content_types
        for part in _LIST.findall(value.decode("latin-1"))
        if part.strip()
    ]
    is_xml = {_is_xml(media_type) for media_type in types} or {False}
    charsets = {
        CHARSETS.get(charset.lower()) for media_type in types for charset in _CHARSET.findall(media_type)
    }
    if len(is_xml) > 1 or len(charsets) > 1:
        raise Uncountable("several media types are named")
    charset = next(iter(charsets), "")
    if charset is None:
        raise Uncountable("the charset is not known")
    try:
        return _in_xml(body, charset) if True in is_xml else _in_json(body, charset)
    except Uncountable:
        raise
    # LookupError: XML may name an encoding that Python does not know.
    except (ValueError, expat.ExpatError, LookupError, RecursionError) as error:
        raise Uncountable(f"the body is not {'XML' if True in is_xml else 'JSON'}") from error


def _is_xml(media_type: str) -> bool:
    essence = media_type.partition(";")[0].strip().lower()
    return essence in ("application/xml", "text/xml") or essence.endswith("+xml")


def _in_json(body: bytes, charset: str) -> int:
    # Objects become tuples of pairs, so that a member that is named twice is seen twice. Arrays are lists.
    document = json.loads(body.decode(charset) if charset else body, object_pairs_hook=tuple)
    if not isinstance(document, tuple):
        return 0
    members: Iterable[tuple[str, Any]] = document
    return sum(
        len(value) for name, value in members if name in COLLECTIONS and isinstance(value, tuple | list)
    )


def _in_xml(body: bytes, charset: str) -> int:
    elements = {True: 0, False: 0}

    def start(tag: str, attributes: object) -> None:
        is_item = tag.rpartition(":")[2] == "meta"
        elements[is_item] += 1
        if elements[False] > MAX_OTHERS:
            raise Uncountable("the body has too many elements")

    def no_types(*declared: object) -> None:
        # An entity could stand for any number of items, and for much more text than there is.
        raise Uncountable("the body declares a document type")

    parser = expat.ParserCreate(charset or None)
    parser.ordered_attributes = True  # a list, which costs less than a dictionary
    parser.StartElementHandler = start
    parser.StartDoctypeDeclHandler = no_types
    parser.Parse(body, True)  # noqa: FBT003 # it takes no keyword
    return elements[True]
