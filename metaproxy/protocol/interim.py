"""Interim responses (1xx): the fields that are passed on, and the ASGI message that carries them.

Facts this file rests on. A proxy forwards an interim response unless it has asked for it itself, and never to
a client of HTTP/1.0 (RFC 9110 §15.2). An interim response has no content, so no field of it frames anything.
ASGI has a message for 103 (Early Hints) alone, ``http.response.early_hint``, and for its Link fields alone.
Our own server takes a message for every interim response, and says so in the scope, as ASGI's extensions do.
"""

from collections.abc import Mapping, MutableMapping
from typing import Any, Final

from metaproxy.protocol import identity_headers
from metaproxy.protocol.headers import Header, Headers, end_to_end, get_all

MESSAGE: Final = "metaproxy.response.interim"
EARLY_HINT: Final = "http.response.early_hint"

EXTENSIONS: Final[dict[str, Any]] = {MESSAGE: {}}
"""The extensions in the scope of a request to our own server. Never changed."""

_OF_THE_FINAL_RESPONSE = frozenset(
    {b"content-length", b"cache-status", b"x-compute-request-id", b"x-openstack-request-id"}
)
_NOT_PASSED = _OF_THE_FINAL_RESPONSE | identity_headers.RESERVED


def is_wanted(scope: Mapping[str, Any]) -> bool:
    """Say whether the server of this request sends interim responses."""
    extensions = scope.get("extensions") or ()
    return MESSAGE in extensions or EARLY_HINT in extensions


def message(status: int, received: Headers) -> dict[str, Any]:
    """Return the message for an interim response: with its end-to-end fields, names in lower case."""
    fields = end_to_end([(name.lower(), value) for name, value in received])
    return {
        "type": MESSAGE,
        "status": status,
        "headers": [field for field in fields if field[0] not in _NOT_PASSED],
    }


def for_server(
    scope: Mapping[str, Any], status: int, fields: list[Header]
) -> MutableMapping[str, Any] | None:
    """Return the message for the server of ``scope``; None if it cannot send this interim response."""
    extensions = scope.get("extensions") or {}
    if MESSAGE in extensions:
        return {"type": MESSAGE, "status": status, "headers": fields}
    links = get_all(fields, b"link")
    if EARLY_HINT in extensions and status == 103 and links:
        return {"type": EARLY_HINT, "links": links}
    return None
