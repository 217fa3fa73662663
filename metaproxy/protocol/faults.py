"""The compute API's faults.

A fault is one object named for what went wrong, with ``code`` and ``message`` and, over a limit,
``retryAfter``. In XML it is one element of the same name. Statuses that clients of the API know by
name are in ``NAMES``; any other is told as ``computeFault``, as the API itself does.

A check returns a ``Fault``, everything behind the checks raises it; one place (``metaproxy.asgi``) writes
it. A message is for the client: it says nothing of the inside.
"""

import json
from collections.abc import Sequence
from functools import lru_cache
from xml.sax.saxutils import escape, quoteattr

NAMES = {
    400: "badRequest",
    401: "unauthorized",
    403: "forbidden",
    404: "itemNotFound",
    405: "badMethod",
    409: "conflictingRequest",
    413: "overLimit",
    429: "overLimit",
    500: "computeFault",
    502: "badGateway",
    503: "serviceUnavailable",
    504: "gatewayTimeout",
}

COMPUTE_NAMESPACE = "http://docs.openstack.org/compute/api/v1.1"
COMMON_NAMESPACE = "http://docs.openstack.org/common/api/v1.0"

JSON = b"application/json"
XML = b"application/xml"

LONGEST_ACCEPT = 1024


class Fault(Exception):
    """A request's end that is not the upstream's answer.

    Args:
        status: the HTTP status code.
        message: one sentence for the client.
        reason: one word from a fixed set, for the log and the metric (``token_missing``).
        headers: header fields of the answer beside Content-Type and Content-Length.
        retry_after: whole seconds; becomes Retry-After, and ``retryAfter`` of an overLimit body.
        details: a second sentence, where the API has one.
        close: whether the connection must be closed after the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        reason: str,
        headers: Sequence[tuple[bytes, bytes]] = (),
        retry_after: int | None = None,
        details: str = "",
        close: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.reason = reason
        self.headers = tuple(headers)
        self.retry_after = retry_after
        self.details = details
        self.close = close

    @property
    def name(self) -> str:
        """The name of the fault in the API's vocabulary."""
        return NAMES.get(self.status, "computeFault")


def render(fault: Fault, media_type: bytes) -> bytes:
    """Return the body of ``fault`` as ``application/json`` or ``application/xml``."""
    return _render(fault.status, fault.message, fault.details, fault.retry_after, media_type)


@lru_cache(maxsize=1024)
def _render(status: int, message: str, details: str, retry_after: int | None, media_type: bytes) -> bytes:
    """The same few faults are told again and again."""
    fault = Fault(status, message, reason="", details=details, retry_after=retry_after)
    return _xml(fault) if media_type == XML else _json(fault)


def prefers_xml(path: str, accept: bytes) -> bool:
    """Say whether a client that sent ``accept`` for ``path`` wants XML.

    A path that ends in ``.xml`` or ``.json`` decides alone; then the higher quality in Accept;
    JSON where both are equal (compute API v2, "Request and response formats"; RFC 9110 §12.5.1), and for an
    Accept of more than ``LONGEST_ACCEPT`` bytes: to read it would take longer than the rest of a refusal.
    """
    if path.endswith(".xml"):
        return True
    if path.endswith(".json") or len(accept) > LONGEST_ACCEPT or b"xml" not in accept.lower():
        return False
    return _quality(accept, XML) > _quality(accept, JSON)


def _json(fault: Fault) -> bytes:
    body: dict[str, object] = {"code": fault.status, "message": fault.message}
    if fault.details:
        body["details"] = fault.details
    if fault.retry_after is not None and fault.name == "overLimit":
        body["retryAfter"] = str(fault.retry_after)
    return json.dumps({fault.name: body}).encode()


def _xml(fault: Fault) -> bytes:
    over_limit = fault.name == "overLimit"
    attributes = f' xmlns="{COMMON_NAMESPACE if over_limit else COMPUTE_NAMESPACE}" code="{fault.status}"'
    if over_limit and fault.retry_after is not None:
        attributes += f" retryAfter={quoteattr(str(fault.retry_after))}"
    details = f"<details>{escape(fault.details)}</details>" if fault.details else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<{fault.name}{attributes}><message>{escape(fault.message)}</message>{details}</{fault.name}>"
    ).encode()


def _quality(accept: bytes, media_type: bytes) -> float:
    """The quality that the most specific matching range of ``accept`` gives ``media_type``."""
    best = (-1, 0.0)
    for element in accept.lower().split(b","):
        media_range, *parameters = (part.strip() for part in element.split(b";"))
        specificity = _specificity(media_range, media_type)
        if specificity > best[0]:
            best = (specificity, _quality_of(parameters))
    return best[1] if best[0] >= 0 else 0.0


def _specificity(media_range: bytes, media_type: bytes) -> int:
    if media_range == media_type:
        return 2
    if media_range.endswith(b"/*") and media_type.startswith(media_range[:-1]):
        return 0 if media_range == b"*/*" else 1
    return 0 if media_range == b"*/*" else -1


def _quality_of(parameters: Sequence[bytes]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition(b"=")
        if name.strip() == b"q":
            try:
                return min(max(float(value), 0.0), 1.0)
            except ValueError:
                return 0.0
    return 1.0
