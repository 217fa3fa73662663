"""Header fields for httpx objects, without httpx looking at each of them.

``httpx.Headers`` normalises every name and value it is given: a quarter of what forwarding a small
answer costs. Ours are pairs of bytes already. One attribute of httpx's, unchanged since 0.9, is set
here and nowhere else; a test holds that both ways give the same.
"""

from typing import cast

import httpx

from metaproxy.forward.engine.parser import ResponseHead
from metaproxy.forward.engine.waiting import OnInterim
from metaproxy.protocol.headers import Headers

_OLD_VERSION = b"HTTP/1.0"
_EXTENSIONS = {"1.1": {"http_version": b"HTTP/1.1"}, "1.0": {"http_version": _OLD_VERSION}}


def httpx_headers(fields: Headers) -> httpx.Headers:
    """Return ``fields``, in order and with duplicates, as httpx's type."""
    made = httpx.Headers()
    made._list = [(name, name.lower(), value) for name, value in fields]
    return made


def httpx_response(head: ResponseHead, body: httpx.AsyncByteStream) -> httpx.Response:
    """Return a response whose body is still to be read, as httpx's type."""
    extensions = _EXTENSIONS[head.version]
    return httpx.Response(
        head.status, headers=httpx_headers(head.headers), stream=body, extensions=extensions
    )


async def send_through(
    transport: httpx.AsyncBaseTransport,
    url: httpx.URL,
    method: str,
    target: bytes,
    fields: Headers,
    body: httpx.AsyncByteStream,
    on_interim: OnInterim,
) -> tuple[ResponseHead, httpx.AsyncByteStream]:
    """Send a request through a transport that is not our own; raises httpx.TransportError."""
    request = httpx.Request(
        method,
        url,
        headers=httpx_headers(fields),
        stream=body,
        extensions={"target": target, "on_interim": on_interim},
    )
    response = await transport.handle_async_request(request)
    received = [(name.lower(), value) for name, value in response.headers.raw]
    version = "1.0" if response.extensions.get("http_version") == _OLD_VERSION else "1.1"
    # Response.aclose() does no more than its stream's, and costs more.
    return ResponseHead(response.status_code, received, version), cast(
        "httpx.AsyncByteStream", response.stream
    )
