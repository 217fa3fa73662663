"""The compute API's documents in JSON and XML, and the bodies that its writes carry.

JSON is written as the API writes it, with a space after colons and commas:
``{"meta": {"label": "Updated"}}`` has 30 bytes.
"""

import json
from typing import Any, Final, NamedTuple
from xml.sax.saxutils import escape, quoteattr

from metaproxy.demo.images import Image, ImageError, Metadata
from metaproxy.protocol.faults import COMMON_NAMESPACE, COMPUTE_NAMESPACE

ABSOLUTE_LIMITS: Final = {
    "maxImageMeta": 128,
    "maxPersonality": 5,
    "maxPersonalitySize": 10240,
    "maxServerMeta": 128,
    "maxTotalCores": 20,
    "maxTotalInstances": 10,
}
_DECLARATION: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'
_COMPUTE: Final = f' xmlns="{COMPUTE_NAMESPACE}"'
_COMMON: Final = f' xmlns="{COMMON_NAMESPACE}"'


class Document(NamedTuple):
    """One answer in both forms. ``xml`` is "" for what the API has in JSON alone."""

    json: str
    xml: str = ""


def item(key: str, value: str) -> Document:
    """Return one metadata item."""
    xml = f"{_DECLARATION}<meta{_COMPUTE} key={quoteattr(key)}>{escape(value)}</meta>"
    return Document(json.dumps({"meta": {key: value}}), xml)


def collection(metadata: Metadata) -> Document:
    """Return the metadata of an image."""
    xml = f"{_DECLARATION}<metadata{_COMPUTE}>{_items_xml(metadata)}</metadata>"
    return Document(json.dumps({"metadata": metadata}), xml)


def image(shown: Image) -> Document:
    """Return one image."""
    return Document(json.dumps({"image": _image(shown)}), _DECLARATION + _image_xml(shown, _COMPUTE))


def images(shown: list[Image]) -> Document:
    """Return a list of images in detail."""
    xml = f"{_DECLARATION}<images{_COMPUTE}>{''.join(map(_image_xml, shown))}</images>"
    return Document(json.dumps({"images": [_image(one) for one in shown]}), xml)


def limits() -> Document:
    """Return the absolute limits, and no rates, as the API does."""
    absolute = "".join(f'<limit name="{name}" value="{value}"/>' for name, value in ABSOLUTE_LIMITS.items())
    xml = f"{_DECLARATION}<limits{_COMMON}><rates/><absolute>{absolute}</absolute></limits>"
    return Document(json.dumps({"limits": {"rate": [], "absolute": ABSOLUTE_LIMITS}}), xml)


def versions() -> Document:
    """Return the list of API versions that ``GET /`` answers."""
    return Document(json.dumps({"versions": [_version("v2.0", "", ""), _version("v2.1", "2.1", "2.96")]}))


def version() -> Document:
    """Return the document of version 2.1."""
    return Document(json.dumps({"version": _version("v2.1", "2.1", "2.96")}))


def read_item(body: bytes, key: str) -> str:
    """Return the value that a write of the item ``key`` carries; raises ImageError (400)."""
    items = _strings(body, "meta")
    if len(items) > 1:
        raise ImageError(400, "Request body contains too many items")
    if key not in items:
        raise ImageError(400, "Request body and URI mismatch")
    return items[key]


def read_collection(body: bytes) -> Metadata:
    """Return the items that a write of the collection carries; raises ImageError (400)."""
    return _strings(body, "metadata")


def _strings(body: bytes, name: str) -> Metadata:
    try:
        document: Any = json.loads(body)
    except ValueError as error:
        raise ImageError(400, "Malformed request body") from error
    items = document.get(name) if isinstance(document, dict) else None
    if not isinstance(items, dict) or not all(isinstance(value, str) for value in items.values()):
        raise ImageError(400, f"Malformed request body: {name!r} must be an object of strings")
    return items


def _image(shown: Image) -> dict[str, object]:
    return {"id": shown.id, "name": shown.name, "status": "ACTIVE", "metadata": shown.metadata}


def _image_xml(shown: Image, namespace: str = "") -> str:
    attributes = f'{namespace} id="{shown.id}" name={quoteattr(shown.name)} status="ACTIVE"'
    return f"<image{attributes}><metadata>{_items_xml(shown.metadata)}</metadata></image>"


def _items_xml(metadata: Metadata) -> str:
    return "".join(f"<meta key={quoteattr(key)}>{escape(value)}</meta>" for key, value in metadata.items())


def _version(name: str, minimum: str, maximum: str) -> dict[str, object]:
    return {
        "id": name,
        "status": "CURRENT" if maximum else "SUPPORTED",
        "version": maximum,
        "min_version": minimum,
        "links": [{"rel": "self", "href": "/v2.1/" if maximum else "/v2/"}],
    }
